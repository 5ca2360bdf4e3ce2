-- The TATs in a stored value of buckets, for scripts that move few of them. `own` says that the value is an account's, which has
-- more behind its TATs. The values are those of gate/stores/redis/layout.py.
-- How many limits the layout of a value has, and how many bytes an account has behind their TATs.
local function layout_of(v)
  local n = byte(v, 1) or 0
  if n >= 64 then return n - 64, 6 end
  return n, 10
end

local function nothing(own)
  return own and P('<BI4BB', 64, 0, 0, 0) or P('<B', 0)
end

-- The value as far as it can be read: none, or what is cut short, is an empty one, and entries that are cut short end it.
local function whole(v, own)
  if not v then return nothing(own) end
  local n, size = layout_of(v)
  local from = 2 + 12 * n
  if not own then return #v + 1 < from and nothing(own) or v end
  if #v + 1 < from + size then return nothing(own) end
  if #v + 1 < from + size + 12 * byte(v, from + size - 2) then return sub(v, 1, from + size - 3) .. '\0\0' end
  return v
end

-- Where the entries of other limits begin in a value, and how many there are.
local function entries_of(v, own)
  local n, size = layout_of(v)
  local from = 2 + 12 * n
  if not own then return from, math.floor((#v + 1 - from) / 12) end
  return from + size, byte(v, from + size - 2) or 0
end

-- Where the TAT of a limit stands, nil where it does not.
local function place_of(v, own, id)
  local n = layout_of(v)
  for i = 0, n - 1 do
    if sub(v, 2 + 4 * i, 5 + 4 * i) == id then return 2 + 4 * n + 8 * i end
  end
  local from, count = entries_of(v, own)
  for i = from, from + 12 * (count - 1), 12 do
    if sub(v, i, i + 3) == id then return i + 4 end
  end
end

local function with_tat(v, own, id, tat)
  local p = place_of(v, own, id)
  if p then return sub(v, 1, p - 1) .. P('<d', tat) .. sub(v, p + 8) end
  local from, count = entries_of(v, own)
  local till = from + 12 * count
  if own then
    if count > 100 then return v end
    v = sub(v, 1, from - 3) .. P('<B', count + 1) .. sub(v, from - 1)
  end
  return sub(v, 1, till - 1) .. P('<c4d', id, tat) .. sub(v, till)
end
