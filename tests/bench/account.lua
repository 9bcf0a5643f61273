-- For wrk: one account by a random key in every request.  What stands around the key is made once.
local before, after

function init()
   local request = wrk.format("GET", "/accounts/@")
   local at = request:find("@", 1, true)
   before, after = request:sub(1, at - 1), request:sub(at + 1)
   math.randomseed(os.time())
end

function request()
   return before .. math.random(1, 1000000) .. after
end
