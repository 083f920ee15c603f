-- Let a rollout go on that was paused by the action; what Git pauses, Git resumes.
local annotations = obj.metadata.annotations or {}
if annotations["headgate.dev/pause"] == nil then
  error("there is nothing to resume: only spec.rollout.paused in Git can hold this rollout", 0)
end
annotations["headgate.dev/pause"] = nil
return obj
