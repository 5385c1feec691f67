"""Small PNG files: a palette of 128 colours is enough for a page, and takes a quarter of the bytes."""

import base64
import struct
import zlib

from playwright.sync_api import Page

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COUNT = 128
PALETTE = 3  # the colour type
# Chromium reads its own picture: the colours that are used most, then those that are farthest from all chosen before.
COLOURS = """async source => {
  const image = new Image();
  image.src = source;
  await image.decode();
  const {width, height} = image;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext('2d');
  context.drawImage(image, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, width, height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) || 0) + 1);
  const parts = colour => [colour & 255, colour >> 8 & 255, colour >> 16 & 255];
  const colours = [...counts].sort((a, b) => b[1] - a[1]).map(([colour]) => colour);
  const palette = [], nearest = new Map(colours.map(colour => [colour, [0, Infinity]]));
  const add = chosen => {
    const [red, green, blue] = parts(chosen), index = palette.push([red, green, blue]) - 1;
    for (const [colour, known] of nearest) {
      const [r, g, b] = parts(colour), distance = (r - red) ** 2 + (g - green) ** 2 + (b - blue) ** 2;
      if (distance < known[1]) nearest.set(colour, [index, distance]);
    }
  };
  colours.slice(0, 64).forEach(add);
  while (palette.length < Math.min(COUNT, colours.length)) {
    let farthest = colours[0];
    for (const [colour, [, distance]] of nearest) if (distance > nearest.get(farthest)[1]) farthest = colour;
    add(farthest);
  }
  const indices = Uint8Array.from(pixels, pixel => nearest.get(pixel)[0]);
  let text = '';
  for (let at = 0; at < indices.length; at += 8192) text += String.fromCharCode(...indices.subarray(at, at + 8192));
  return {width, height, palette, indices: btoa(text)};
}""".replace("COUNT", str(COUNT))


def small(png: bytes, page: Page) -> bytes:
    """The same picture; `page` is any blank page, which does the reckoning."""
    found = page.evaluate(COLOURS, f"data:image/png;base64,{base64.b64encode(png).decode()}")
    width, height = found["width"], found["height"]
    indices = base64.b64decode(found["indices"])
    lines = b"".join(b"\0" + indices[at : at + width] for at in range(0, len(indices), width))
    head = struct.pack(">IIBBBBB", width, height, 8, PALETTE, 0, 0, 0)
    palette = b"".join(map(bytes, found["palette"]))
    chunks = ((b"IHDR", head), (b"PLTE", palette), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    return SIGNATURE + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
