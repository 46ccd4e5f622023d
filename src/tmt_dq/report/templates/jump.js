// Shows the place of the chosen row of a table, with room around it.
const [row] = places.selected.indices
if (row === undefined) {
  return
}
const [left, bottom, width, height] = ["x", "y", "width", "height"].map((name) => places.data[name][row])
const small = Math.min(width, height), large = Math.max(width, height)
const side = Math.min(frame[2] - frame[0], Math.max(60, 3 * small, Math.min(3 * large, 300)))
const x = left - 0.5 + width / 2, y = bottom - 0.5 + height / 2
outline.data = {left: [left - 0.5], right: [left - 0.5 + width], bottom: [bottom - 0.5], top: [bottom - 0.5 + height]}
const tall = side * plot.inner_height / plot.inner_width
plot.x_range.setv({start: x - side / 2, end: x + side / 2})
plot.y_range.setv({start: y - tall / 2, end: y + tall / 2})
