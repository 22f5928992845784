local X = object "x"
function X.query:get() return self.n end
function X:show() end
function X.replicated:run()
  after(1, "nosuch")
  after(1, "get", 5)
  after(1, "show")
  after(1, "run")
end
