-- Closes the sessions of API servers whose etcd does not respond, as long as another server is ready for their clients, and keeps new
-- connections away from such a server until it has been ready for a while. `on-marked-down` considers only one server, and if none is ready
-- no session may be closed. A single successful check makes a server `UP` again: `rise` applies only to servers that were `DOWN`.

-- Milliseconds between two passes. Consecutive passes that must find a server without etcd: during an etcd election each server is, one
-- after the other. Consecutive passes that must find a server ready: all are occasionally without etcd if the etcd leader's disk is slow,
-- and a member with a slow disk passes a check occasionally.
local PAUSE, WITHOUT, READY = 400, 3, 7

-- By server name: result of the last check, consecutive passes that found it ready, consecutive passes that found it without etcd, and
-- whether it receives no new connections.
local said, ready, lacks, paused = {}, {}, {}, {}

local function look(servers, checks)
  local is_one_ready = false
  for name, server in pairs(checks) do
    local stats = server:get_stats()
    -- Empty while a check is running.
    if stats.last_chk ~= "" then
      said[name] = stats.last_chk
    end
    local is_ready = stats.status:sub(1, 2) == "UP"
    local is_without = stats.status:sub(1, 4) == "NOLB" and said[name] == "etcd"
    ready[name] = is_ready and (ready[name] or 0) + 1 or 0
    lacks[name] = is_without and (lacks[name] or 0) + 1 or 0
    is_one_ready = is_one_ready or ready[name] >= READY
  end
  for name, server in pairs(servers) do
    if is_one_ready and lacks[name] >= WITHOUT then
      server:shut_sess()
      if not paused[name] then
        server:set_weight("0%")
        paused[name] = true
      end
    elseif paused[name] and (ready[name] >= READY or not is_one_ready) then
      server:set_weight("100%")
      paused[name] = nil
    end
  end
end

core.register_task(function()
  while true do
    core.msleep(PAUSE)
    look(core.backends["kube-apiserver"].servers, core.backends["checks"].servers)
  end
end)
