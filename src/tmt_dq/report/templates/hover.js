// Tells position and flags of the pixel under the pointer, or of flagged ones in the same dot.
const x_here = Math.round(cb_obj.x), y_here = Math.round(cb_obj.y)
const inside = x_here > frame[0] && x_here <= frame[2] && y_here > frame[1] && y_here <= frame[3]
if (!inside) {
  readout.text = "Point at a pixel."
  return
}
const reach = Math.floor((plot.x_range.end - plot.x_range.start) / plot.inner_width)
const {x, y, nx, ny, kind} = marks.data
const found = []
for (let mark = 0; mark < x.length; mark++) {
  // The pixel of the mark that is next to the pointer, counted from 1.
  const px = Math.min(Math.max(x_here, x[mark] + 1), x[mark] + nx[mark])
  const py = Math.min(Math.max(y_here, y[mark] + 1), y[mark] + ny[mark])
  const away = Math.max(Math.abs(px - x_here), Math.abs(py - y_here))
  if (away <= reach) {
    found.push([away, `x ${px}, y ${py}: <b>${texts[kind[mark]]}</b>`])
  }
}
found.sort((a, b) => a[0] - b[0])
const lines = found.slice(0, 2).map((one) => one[1])
if (found.length === 0 || found[0][0] > 0) {
  lines.unshift(`x ${x_here}, y ${y_here}`)
}
readout.text = lines.slice(0, 3).join("<br>")
