-- For wrk: walks through a file of whole requests (BENCH_REQUESTS), each after a line with its length in bytes, and
-- begins again at its end. Says at last what was made, answered and refused, in one line.

local requests = {}
local walkers = {}
made = 0 -- global, so that the thread can be asked for it

function init()
  local file = assert(io.open(os.getenv("BENCH_REQUESTS"), "rb"))
  local length = file:read("*l")
  while length do
    requests[#requests + 1] = file:read(tonumber(length))
    length = file:read("*l")
  end
  file:close()
end

function request()
  made = made + 1
  return requests[(made - 1) % #requests + 1]
end

function setup(thread)
  walkers[#walkers + 1] = thread
end

function done(summary, latency)
  local errors, sent = summary.errors, 0
  for _, walker in ipairs(walkers) do
    sent = sent + walker:get("made")
  end
  io.write(string.format('\n{"made": %d, "answered": %d, "microseconds": %d, "p50": %.3f, "p99": %.3f, "refused": %d, "broken": %d}\n',
    sent, summary.requests, summary.duration, latency:percentile(50) / 1000, latency:percentile(99) / 1000,
    errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
