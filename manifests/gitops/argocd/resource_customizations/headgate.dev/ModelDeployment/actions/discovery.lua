-- What a person may do with the release of a ModelDeployment. Each action writes annotations that
-- name the revision it is meant for; the operator ignores one for another revision, so an action
-- that comes too late does nothing. spec belongs to Git and is never written.

local status = obj.status or {}
local annotations = obj.metadata.annotations or {}
local canary = status.canary or {}
local phase = status.phase

local function asked(annotation)
  return annotations["headgate.dev/" .. annotation] == canary.hash
end

-- What was rejected of the version in Git; a version is what people tell revisions apart by.
local rejections = 0
for _, rejected in ipairs(status.rejected or {}) do
  if rejected.version == obj.spec.model.version then
    rejections = rejections + 1
  end
end

local underWay = canary.hash ~= nil
-- The first revision has nothing to go back to, and one that comes back is not sent away again.
local hasWayBack = underWay and status.stable ~= nil and not canary.returning
local heldByGit = obj.spec.rollout ~= nil and obj.spec.rollout.paused == true
local isFirstStuck = phase == "Degraded" and status.stable ~= nil and not underWay

local actions = {}
actions["pause"] = {
  ["disabled"] = not underWay or asked("pause") or heldByGit,
  ["displayName"] = "Pause the rollout",
  ["iconClass"] = "fa fa-fw fa-pause-circle"
}
actions["resume"] = {
  ["disabled"] = annotations["headgate.dev/pause"] == nil,
  ["displayName"] = "Resume the rollout",
  ["iconClass"] = "fa fa-fw fa-play-circle"
}
actions["abort"] = {
  ["disabled"] = not hasWayBack or asked("abort"),
  ["displayName"] = "Abort: all traffic back to stable",
  ["iconClass"] = "fa fa-fw fa-undo"
}
actions["promote-now"] = {
  ["disabled"] = not hasWayBack or phase == "Baking" or heldByGit or asked("promote")
    or asked("abort"),
  ["displayName"] = "Promote now, without the rest of the evidence",
  ["iconClass"] = "fa fa-fw fa-fast-forward"
}
actions["retry"] = {
  ["disabled"] = not (isFirstStuck or (phase == "RolledBack" and rejections > 0)),
  ["displayName"] = "Retry the rejected revision",
  ["iconClass"] = "fa fa-fw fa-redo"
}
-- Of several rejected revisions of one version the last one is meant, unless a hash is given.
if rejections > 1 then
  actions["retry"]["params"] = {{["name"] = "revision"}}
end
return actions
