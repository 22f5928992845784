local X = object "x"
function X.query:m(v)
  table.insert(self.list, v)
  table.remove(self.list)
  table.sort(self.list)
  rawset(self, "n", 1)
  local list = self.list
  return setmetatable(list, {})
end
