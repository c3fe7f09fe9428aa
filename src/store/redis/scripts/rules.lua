-- What the scripts have in common. A script gets the functions of this file that it uses, and stands behind them; names in
-- capital letters are those of keys.rs. Functions are apart by an empty line, and use only those above them.
--
-- Every script: KEYS[1] is what all keys of a queue begin with. They have one hash tag and so one slot, which is what
-- Redis Cluster wants of the keys of a script. Time is the server's. All or nothing: what may be refused – a limit, or a
-- server without memory – is found out before the first write. (A server without memory refuses commands that need some
-- only as long as the script has written nothing. So a script that stores something begins with a command that needs
-- memory, and one that must always pass begins with one that needs none.)

-- Now, in milliseconds and in microseconds since 1970.
local function clock()
  local t = call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000), t[1] * 1000000 + t[2]
end

-- How many bytes are stored; or nothing, and why this process must not touch them.
local function stored()
  local meta = call('HMGET', META, 'format', 'bytes')
  if meta[1] == FORMAT then return tonumber(meta[2] or 0) end
  if meta[1] then return nil, redis.error_reply('FORMAT ' .. meta[1]) end
  call('HSET', META, 'format', FORMAT)
  return tonumber(meta[2] or 0)
end

-- So many bytes more, or less, for this job or cache entry.
local function account(id, bytes)
  if bytes == 0 then return end
  call('HINCRBY', SIZES, id, bytes)
  call('HINCRBY', META, 'bytes', bytes)
end

-- Nothing is stored any more under this name.
local function unaccount(id)
  local bytes = call('HGET', SIZES, id)
  if not bytes then return end
  call('HDEL', SIZES, id)
  call('HINCRBY', META, 'bytes', -bytes)
end

-- Wakes those who wait. `from` is the process that knows already; '' = none. Who may not publish does without.
local function tell(channel, from)
  redis.pcall('PUBLISH', channel, from)
end

-- A job waits for a worker, at its place. Workers are woken if none waited before: else they know, or are all busy.
local function queue(id, seq, from)
  call('ZADD', READY, seq, id)
  if call('ZCARD', READY) == 1 then tell(WORK, from) end
end

-- Drops what is recorded of a job. Answers how many bytes it was.
local function drop_recording(id)
  local recorded = call('HGET', JOB .. id, 'recorded')
  if not recorded then return 0 end
  call('HDEL', JOB .. id, 'head', 'size', 'mark', 'recorded')
  call('UNLINK', SEGMENTS .. id, TAIL .. id)
  return tonumber(recorded)
end

-- A job is over, and is seen as long as `retention` says. Should nobody sweep, Redis removes its keys itself, later.
local function finish(id, set, seq, key, now, retention)
  local net = retention + NET
  call('ZADD', set, seq, id)
  call('ZADD', EXPIRY, now + retention, id)
  call('PEXPIRE', JOB .. id, net)
  if key then call('PEXPIRE', KEY .. key, net) end
  return net
end

-- A job has failed. What is kept is its request.
local function fail(id, seq, key, why, now, retention)
  call('HSET', JOB .. id, 'state', 'failed', 'error', why, 'ended', now)
  call('PEXPIRE', BODY .. id, finish(id, FAILED, seq, key, now, retention))
end

-- Forgets a job, or a body that no job followed, whatever is left of it.
local function forget(id)
  local key = call('HGET', JOB .. id, 'key')
  if key then
    local known = call('GET', KEY .. key)
    if known and known:sub(1, 36) == id then call('DEL', KEY .. key) end
  end
  call('UNLINK', JOB .. id, BODY .. id, SEGMENTS .. id, TAIL .. id)
  for _, set in ipairs({ READY, DELAYED, LEASES, PAUSED, COMPLETED, FAILED, EXPIRY }) do call('ZREM', set, id) end
  unaccount(id)
end
