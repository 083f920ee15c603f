-- Hold the rollout that is under way where it is; a breach still takes it back.
local canary = (obj.status or {}).canary
if canary == nil then
  error("there is nothing to pause: no rollout is under way", 0)
end
obj.metadata.annotations = obj.metadata.annotations or {}
obj.metadata.annotations["headgate.dev/pause"] = canary.hash
return obj
