-- Health of a ModelRollout: the record of one attempt to move traffic to a revision. It has no
-- owner, as it outlives its ModelDeployment, so Argo CD shows it among orphaned resources only.
--
--   Progressing  the attempt is under way
--   Suspended    it is paused
--   Degraded     it is open, and cannot go on: the first revision of all failed
--   Healthy      the record is complete, whatever it says
--
-- A complete record never changes. Were a rolled back one Degraded, it would stay so until it is
-- pruned, long after its cause is gone; whether something is wrong now is said by the
-- ModelDeployment. The message begins with the outcome.

local function tell(status, message)
  return {status = status, message = message}
end

if obj.metadata.deletionTimestamp ~= nil then
  return tell("Progressing", "The record is being deleted")
end

local status = obj.status or {}
if status.outcome == nil then
  return tell("Progressing", "Waiting for Headgate to write the record")
end

local message = status.outcome .. ": " .. (status.message or "")
if status.outcome ~= "Progressing" then
  return tell("Healthy", message)
end
if status.phase == "Paused" then
  return tell("Suspended", "Paused: " .. (status.message or ""))
end
if status.phase == "Degraded" then
  return tell("Degraded", "Degraded: " .. (status.message or ""))
end
return tell("Progressing", message)
