-- Ends the sessions of API servers whose etcd does not answer, as long as another server is ready for their clients. `on-marked-down` knows
-- one server alone, and where none is ready no session may end.

-- Between two looks, in milliseconds, and how many must agree: while etcd elects a leader all servers are without it, one after the other.
local PAUSE, LOOKS = 400, 3

-- What the last checks said, and how many looks have found a server without etcd; by name.
local said, seen = {}, {}

local function look(servers)
  local is_ready, without = false, {}
  for name, server in pairs(servers) do
    local stats = server:get_stats()
    -- Nothing is said while a check is under way.
    if stats.last_chk ~= "" then
      said[name] = stats.last_chk
    end
    is_ready = is_ready or stats.status:sub(1, 2) == "UP"
    without[name] = stats.status:sub(1, 4) == "NOLB" and said[name] == "etcd"
  end
  for name, server in pairs(servers) do
    seen[name] = is_ready and without[name] and (seen[name] or 0) + 1 or 0
    if seen[name] >= LOOKS then
      server:shut_sess()
    end
  end
end

core.register_task(function()
  while true do
    core.msleep(PAUSE)
    look(core.backends["kube-apiserver"].servers)
  end
end)
