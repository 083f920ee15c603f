-- Health of a ModelDeployment. Git asks for a revision; the operator gives it traffic step by step,
-- and takes the traffic back when the evidence says so. spec is never changed by the operator, so
-- the object stays Synced all the while and health alone tells how the release goes:
--
--   Progressing  the generation was not seen yet; a revision starts, earns its weight, or bakes
--   Suspended    a rollout waits: for people who paused it, for an error budget, for its inputs
--   Degraded     rolled back, or refused, or what should serve does not
--   Healthy      the revision that Git asks for serves everything
--
-- The conditions follow kstatus (Stalled, Reconciling, Ready); the messages are theirs.

local function found(name)
  for _, condition in ipairs(obj.status.conditions or {}) do
    if condition.type == name then
      return condition
    end
  end
  return {}
end

local function tell(status, message)
  return {status = status, message = message or ""}
end

if obj.metadata.deletionTimestamp ~= nil then
  return tell("Progressing", "The ModelDeployment is being deleted")
end

local observed = obj.status ~= nil and obj.status.observedGeneration or -1
if observed < (obj.metadata.generation or 0) then
  return tell("Progressing", "Waiting for Headgate to look at generation "
    .. tostring(obj.metadata.generation))
end

local phase = obj.status.phase
local stalled, ready, rolledOut = found("Stalled"), found("Ready"), found("RolledOut")

if stalled.status == "True" then
  return tell("Degraded", stalled.message)
end
if phase == "RolledBack" or phase == "Degraded" then
  return tell("Degraded", obj.status.message)
end
-- Somebody has to act, or something has to recover, before a paused rollout goes on. One that must
-- not begin has no phase of its own: the reason of RolledOut says what it waits for.
local waits = rolledOut.status == "False" and rolledOut.reason ~= phase
if phase == "Paused" or (waits and obj.status.canary == nil) then
  return tell("Suspended", rolledOut.message)
end
-- A person's pause holds a canary that is ready before its first weight, and at the end of its bake.
local canary = obj.status.canary
if canary ~= nil and found("CanaryReady").status == "True"
  and (phase == "Preparing" or phase == "Baking") then
  local message = found("CanaryReady").message
  if (obj.metadata.annotations or {})["headgate.dev/pause"] == canary.hash then
    return tell("Suspended", message .. "; it is held by annotation headgate.dev/pause")
  end
  if obj.spec.rollout ~= nil and obj.spec.rollout.paused then
    return tell("Suspended", message .. "; it is held by spec.rollout.paused")
  end
end
-- Whatever a rollout does meanwhile, users get no answers.
if ready.reason == "StableNotReady" then
  return tell("Degraded", ready.message)
end
-- The first revision of all serves everything while it bakes, and is not proven yet either.
if phase == "Baking" then
  return tell("Progressing", obj.status.message)
end
if rolledOut.status == "True" and ready.status == "True" then
  local message = ready.message
  for _, watched in ipairs({"BudgetAvailable", "InputsMatchReference"}) do
    -- No cure for it is in Git, so it is told and does not make the application Degraded.
    if found(watched).status == "False" then
      message = message .. "; " .. found(watched).message
    end
  end
  return tell("Healthy", message)
end
if rolledOut.status == "True" then
  return tell("Progressing", ready.message)
end
return tell("Progressing", rolledOut.message or obj.status.message)
