-- Give all traffic back to the stable revision and reject the one under test.
local status = obj.status or {}
if status.canary == nil then
  error("there is nothing to abort: no rollout is under way", 0)
end
if status.stable == nil then
  error("the first revision cannot be aborted: nothing serves that could take its traffic", 0)
end
if status.canary.returning then
  error("a proven revision that comes back cannot be aborted: it replaces one that failed", 0)
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["headgate.dev/abort"] = status.canary.hash
return obj
