-- Ends the sessions of API servers whose etcd does not answer, as long as another server is ready for their clients. `on-marked-down` knows
-- one server alone, and where none is ready no session may end.

-- Between two looks, in milliseconds. So many must find a server without etcd, since while etcd elects a leader all are, one after the other;
-- and so many another one ready: while the disk of etcd's leader is slow every server is without it now and then.
local PAUSE, WITHOUT, READY = 400, 3, 7

-- What the last checks said; how many looks have found a server ready, and how many have found it without etcd; by name.
local said, ready, lacks = {}, {}, {}

local function look(servers, checks)
  local is_one_ready = false
  for name, server in pairs(checks) do
    local stats = server:get_stats()
    -- Nothing is said while a check is under way.
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
    end
  end
end

core.register_task(function()
  while true do
    core.msleep(PAUSE)
    look(core.backends["kube-apiserver"].servers, core.backends["checks"].servers)
  end
end)
