-- Give the revision under test all traffic as soon as it is ready, whatever the evidence is by
-- then. It still bakes, and a breach still takes it back. A pause by the action ends with this.
local status = obj.status or {}
if status.canary == nil then
  error("there is nothing to promote: no rollout is under way", 0)
end
if status.stable == nil then
  error("there is nothing to promote: the first revision takes no steps", 0)
end
if status.phase == "Baking" then
  error("there is nothing to promote: the revision has all traffic and bakes", 0)
end
if obj.spec.rollout ~= nil and obj.spec.rollout.paused then
  error("Git has paused this rollout: take spec.rollout.paused away there first", 0)
end
local annotations = obj.metadata.annotations or {}
if annotations["headgate.dev/pause"] == status.canary.hash then
  annotations["headgate.dev/pause"] = nil
end
annotations["headgate.dev/promote"] = status.canary.hash
obj.metadata.annotations = annotations
return obj
