-- Stores a piece of the body of a job that is not submitted yet.
--
-- ARGV: 1 job, 2 number of the piece, 3 the piece, 4 most bytes of the store, 5 for how long it is kept (ms).
-- Answers: 'ok' | 'full'. A piece that comes again replaces itself.
-- Cost: O(1), and the copying of the piece.
local id, index, piece, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
local bytes, newer = stored()
if newer then return newer end
if call('EXISTS', JOB .. id) == 1 then return 'ok' end
local more = #piece - call('HSTRLEN', BODY .. id, index)
if more > 0 and bytes + more > most then return 'full' end
call('HSET', BODY .. id, index, piece)
account(id, more)
call('ZADD', EXPIRY, clock() + ARGV[5], id)
return 'ok'
