-- Health of a ModelRevision: one immutable model with its serving configuration, of which only few
-- serve. The others are history, kept to go back to or to explain a decision, and history must not
-- turn the tree of an application red for ever:
--
--   Progressing  it starts
--   Healthy      it serves, or it has been stopped because another one serves
--   Suspended    it was rejected: it will not be tried again until somebody asks for that
--
-- That a rejected revision is what Git asks for is said by its ModelDeployment, which is Degraded
-- then and stops being so when Git changes; the revision itself could never recover.

local function tell(status, message)
  return {status = status, message = message}
end

if obj.metadata.deletionTimestamp ~= nil then
  return tell("Progressing", "The revision is being deleted")
end

local status = obj.status or {}
if (status.observedGeneration or -1) < (obj.metadata.generation or 0) or status.phase == nil then
  return tell("Progressing", "Waiting for Headgate to look at the revision")
end

local version = "Version " .. tostring(obj.spec.model.version)
if status.phase == "Preparing" then
  return tell("Progressing", version .. " is being prepared")
end
if status.phase == "Rejected" then
  local rejected = status.rejected or {}
  return tell("Suspended", version .. " was rejected (" .. tostring(rejected.reason) .. "), see "
    .. tostring(rejected.rollout) .. "; it is not tried again unless somebody asks for that")
end
local proven = status.proven and ", proven" or ", not proven yet"
if status.phase == "Stopped" then
  return tell("Healthy", version .. " is stopped" .. (status.proven and proven or ""))
end
return tell("Healthy", version .. " serves" .. proven)
