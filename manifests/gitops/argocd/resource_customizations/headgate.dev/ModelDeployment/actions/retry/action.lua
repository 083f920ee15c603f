-- Lift the rejection of a revision, so that it is tried once more. Without the parameter
-- `revision`, a hash of eight digits, the last rejected one of the version in Git is meant; or the
-- first revision of all, which cannot be rejected, when it has failed.
local os = require("os")

local status = obj.status or {}
local wanted = actionParams["revision"]
local isNamed = wanted ~= nil and wanted ~= ""
local hash = nil
for _, rejected in ipairs(status.rejected or {}) do
  if (isNamed and rejected.hash == wanted)
    or (not isNamed and rejected.version == obj.spec.model.version) then
    hash = rejected.hash
  end
end
if not isNamed and status.phase == "Degraded" and status.canary == nil and status.stable ~= nil then
  hash = status.stable.hash
end
if hash == nil then
  error("there is nothing to retry: no such revision was rejected", 0)
end
local annotations = obj.metadata.annotations or {}
-- What was asked of the attempt before this one must not end the next one.
for _, earlier in ipairs({"headgate.dev/abort", "headgate.dev/promote"}) do
  if annotations[earlier] == hash then
    annotations[earlier] = nil
  end
end
annotations["headgate.dev/retry"] = hash .. "@" .. os.date("!%Y-%m-%dT%H:%M:%SZ")
obj.metadata.annotations = annotations
return obj
