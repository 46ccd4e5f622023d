// Draws the pixels in view: a dot of the picture is one pixel, or as many as it has to be.
// As in the pictures of `inspect --plot`, ink grows with the share of a dot that is flagged.
if (image.waiting) {
  return
}
image.waiting = true
requestAnimationFrame(() => {
  image.waiting = false
  const width = plot.inner_width, height = plot.inner_height
  if (!(width > 0 && height > 0)) {
    return
  }
  const x_range = plot.x_range, y_range = plot.y_range
  // Pixels are square, whatever room the page has.
  const tall = (x_range.end - x_range.start) * height / width
  if (Math.abs(y_range.end - y_range.start - tall) > 1e-6 * tall) {
    const middle = (y_range.start + y_range.end) / 2
    y_range.setv({start: middle - tall / 2, end: middle + tall / 2})
  }
  const dot = Math.max(1, Math.ceil((x_range.end - x_range.start) / width))
  const first_x = Math.max(Math.floor((x_range.start - 0.5) / dot), Math.floor(frame[0] / dot))
  const first_y = Math.max(Math.floor((y_range.start - 0.5) / dot), Math.floor(frame[1] / dot))
  const columns = Math.min(Math.ceil((x_range.end - 0.5) / dot), Math.ceil(frame[2] / dot)) - first_x
  const rows = Math.min(Math.ceil((y_range.end - 0.5) / dot), Math.ceil(frame[3] / dot)) - first_y
  if (columns < 1 || rows < 1) {
    return
  }

  // Of the layers that are on, the first one of a pixel has its colour.
  const shown = kinds.map((names) => names.find((name) => layers.active.includes(name)))
  const count = new Float32Array(rows * columns)
  const colour = [0, 1, 2].map(() => new Float32Array(rows * columns))
  const {x, y, nx, ny, kind} = marks.data
  for (let mark = 0; mark < x.length; mark++) {
    const layer = shown[kind[mark]]
    if (layer === undefined) {
      continue
    }
    const end_x = x[mark] + nx[mark], end_y = y[mark] + ny[mark]
    const last_column = Math.min(columns, Math.ceil(end_x / dot) - first_x)
    const last_row = Math.min(rows, Math.ceil(end_y / dot) - first_y)
    for (let row = Math.max(0, Math.floor(y[mark] / dot) - first_y); row < last_row; row++) {
      const low = (row + first_y) * dot
      const high = Math.min(end_y, low + dot) - Math.max(y[mark], low)
      for (let column = Math.max(0, Math.floor(x[mark] / dot) - first_x); column < last_column; column++) {
        const left = (column + first_x) * dot
        const pixels = high * (Math.min(end_x, left + dot) - Math.max(x[mark], left))
        const place = row * columns + column
        count[place] += pixels
        for (const part of [0, 1, 2]) {
          colour[part][place] += pixels * colours[layer][part]
        }
      }
    }
  }

  const picture = new Uint32Array(rows * columns)
  const inked = []
  for (let place = 0; place < count.length; place++) {
    if (count[place] > 0) {
      const ink = Math.pow(count[place] / (dot * dot), power)
      const [red, green, blue] = colour.map((sum) => 255 - ink * (255 - sum[place] / count[place]))
      picture[place] = (255 << 24 | blue << 16 | green << 8 | red) >>> 0
      inked.push(place)
    }
  }
  // Where dots are few they are enlarged, unless they are pixels that the view enlarges.
  const enlarged = plot.inner_width > 2 * columns ? 0 : sparse.filter((limit) => inked.length < limit * count.length).length
  const final = picture.slice()
  for (const place of enlarged ? inked : []) {
    const row = Math.floor(place / columns), column = place % columns
    for (let r = Math.max(0, row - enlarged); r <= Math.min(rows - 1, row + enlarged); r++) {
      for (let c = Math.max(0, column - enlarged); c <= Math.min(columns - 1, column + enlarged); c++) {
        final[r * columns + c] ||= picture[place]
      }
    }
  }
  const Picture = image.data.image[0].constructor
  image.data = {
    image: [new Picture(final, [rows, columns])],
    x: [first_x * dot + 0.5],
    y: [first_y * dot + 0.5],
    dw: [columns * dot],
    dh: [rows * dot],
  }
})
