-- What wrk asks for: one operation of the contract, on tasks whose ids are in a file.
-- wrk -s operations.lua URL -- operation ids-file

local threads = 0

function setup(thread)
  thread:set("number", threads)
  threads = threads + 1
end

local json = {["Content-Type"] = "application/json"}
local ids = {}
local count = 0

local operations = {
  constant = function() return wrk.format("GET", "/api/v1/health") end,
  create = function()
    return wrk.format("POST", "/api/v1/tasks", json, '{"title": "Task ' .. count .. '", "description": "As usual."}')
  end,
  get = function(id) return wrk.format("GET", "/api/v1/tasks/" .. id) end,
  list = function() return wrk.format("GET", "/api/v1/tasks") end,
  update = function(id)
    return wrk.format("PUT", "/api/v1/tasks/" .. id, json, '{"title": "Task ' .. number .. " " .. count .. '"}')
  end,
  -- Each completion is a change: a task that is completed already is opened again.
  complete = function(id)
    local done = ids[id]
    ids[id] = not done
    return wrk.format("PATCH", "/api/v1/tasks/" .. id .. (done and "/incomplete" or "/complete"))
  end,
  delete = function(id) return wrk.format("DELETE", "/api/v1/tasks/" .. id) end,
  history = function() return wrk.format("GET", "/api/v1/history?limit=10&page=" .. 1 + count % 5) end,
  first_page = function() return wrk.format("GET", "/api/v1/history") end,
  stats = function() return wrk.format("GET", "/api/v1/stats/weekly") end,
  page = function() return wrk.format("GET", "/api/v1/tasks?limit=50") end,
}

-- What a frontend does: of twenty requests sixteen read and four write.
local mix = {
  "get", "get", "get", "get", "get", "get", "get", "get", "get", "get",
  "page", "page", "page", "first_page", "first_page", "stats",
  "create", "update", "update", "complete",
}

operations.mixed = function(id) return operations[mix[math.random(#mix)]](id) end

function init(args)
  operation = operations[args[1]]
  in_order = args[1] == "delete"
  math.randomseed(os.time() * 1000 + number)
  for id in io.lines(args[2]) do
    ids[#ids + 1] = id
  end
end

function request()
  count = count + 1
  local index = in_order and count or math.random(#ids)
  return operation(ids[index] or ids[#ids])
end

function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '{"requests": %d, "seconds": %f, "errors": %d, "p50": %f, "p99": %f}\n',
    summary.requests, summary.duration / 1e6, e.connect + e.read + e.write + e.status + e.timeout,
    latency:percentile(50) / 1000, latency:percentile(99) / 1000))
end
