"""What Redis does in one go, as Lua: write cells once under a key, and list cells with those that expired left out.

    names   <prefix>:<space>:<key>      a hash: one cell; Redis forgets it when it expires
            <prefix>:keys:<space>       a sorted set: the keys of a space
            <prefix>:due:<space>        a sorted set: those that are due at some time, by it
            <prefix>:once:<service>:<key>  a list: that something was written under this key, and what was there before
            <prefix>:version            the last version that was given out

Knows Redis. Must not know who writes or why.
"""

from __future__ import annotations

from typing import Final

#: KEYS: the mark ("…:once:…"), the counter of versions.
#: ARGV: prefix, life of the mark in ms, "1" to write those that are as expected, "1" to remember what was there; then
#: for each cell: space, key, expected version or "", moment of expiry in ms or "", due or "", the number of fields and
#: values that follow, and these.
#: Gives {"again"}, {"lost", index…} (nothing was written), or {"done", version or 0…}.
WRITE: Final = """
local prefix, each, remembers = ARGV[1], ARGV[3] == '1', ARGV[4] == '1'
if redis.call('EXISTS', KEYS[1]) == 1 then return {'again'} end
local cells, lost, at = {}, {'lost'}, 5
while at <= #ARGV do
  local cell = {space = ARGV[at], key = ARGV[at + 1], expires = ARGV[at + 3], due = ARGV[at + 4], fields = {}}
  cell.name = prefix .. ':' .. cell.space .. ':' .. cell.key
  local expected, count = ARGV[at + 2], tonumber(ARGV[at + 5])
  for i = at + 6, at + 5 + count do cell.fields[#cell.fields + 1] = ARGV[i] end
  at = at + 6 + count
  cells[#cells + 1] = cell
  if expected ~= '' and (redis.call('HGET', cell.name, 'version') or '0') ~= expected then
    cell.lost = true
    lost[#lost + 1] = #cells
  end
end
if #lost > 1 and not each then return lost end
local before, answer = {}, {'done'}
for _, cell in ipairs(cells) do
  if cell.lost then
    answer[#answer + 1] = 0
  else
    local was = redis.call('HGETALL', cell.name)
    for _, value in ipairs({cell.space, cell.key, #was}) do before[#before + 1] = value end
    for _, value in ipairs(was) do before[#before + 1] = value end
    local version = redis.call('INCR', KEYS[2])
    answer[#answer + 1] = version
    local keys, due = prefix .. ':keys:' .. cell.space, prefix .. ':due:' .. cell.space
    redis.call('DEL', cell.name)
    if #cell.fields == 0 then
      redis.call('ZREM', keys, cell.key)
      redis.call('ZREM', due, cell.key)
    else
      redis.call('HSET', cell.name, 'version', version, unpack(cell.fields))
      redis.call('ZADD', keys, 0, cell.key)
      if cell.due ~= '' then redis.call('ZADD', due, cell.due, cell.key) else redis.call('ZREM', due, cell.key) end
      if cell.expires ~= '' then redis.call('PEXPIREAT', cell.name, cell.expires) end
    end
  end
end
redis.call('RPUSH', KEYS[1], 'written')
if remembers then
  for _, value in ipairs(before) do redis.call('RPUSH', KEYS[1], value) end
end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return answer
"""

#: ARGV: prefix, space, "keys" or "due", from, to, how many.
#: Gives the cells of that part of the index, as {key, {field, value…}}, and last the key up to which it looked, or "".
LIST: Final = """
local prefix, space, index = ARGV[1], ARGV[2], ARGV[3]
local name, limit = prefix .. ':' .. index .. ':' .. space, tonumber(ARGV[6])
local how = index == 'keys' and 'ZRANGEBYLEX' or 'ZRANGEBYSCORE'
local keys = redis.call(how, name, ARGV[4], ARGV[5], 'LIMIT', 0, limit)
local answer = {}
for _, key in ipairs(keys) do
  local fields = redis.call('HGETALL', prefix .. ':' .. space .. ':' .. key)
  if #fields > 0 then
    answer[#answer + 1] = {key, fields}
  else
    redis.call('ZREM', prefix .. ':keys:' .. space, key)
    redis.call('ZREM', prefix .. ':due:' .. space, key)
  end
end
answer[#answer + 1] = #keys == limit and keys[#keys] or ''
return answer
"""
