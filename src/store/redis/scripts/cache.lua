-- Keeps a cache entry.
--
-- ARGV: 1 its name, 2 the entry, 3 for how long (ms), 4 most bytes of the store.
-- Answers: 'ok' | 'full'.
-- Cost: O(log n), and the copying of the entry.
local name, entry, millis = ARGV[1], ARGV[2], tonumber(ARGV[3])
local bytes, newer = stored()
if newer then return newer end
local more = FLAT + #entry - (call('HGET', SIZES, name) or 0)
if more > 0 and bytes + more > tonumber(ARGV[4]) then return 'full' end
call('SET', CACHE .. name, entry, 'PX', millis)
account(name, more)
call('ZADD', EXPIRY, clock() + millis, name)
return 'ok'
