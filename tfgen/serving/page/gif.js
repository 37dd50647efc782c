// Animated GIFs, as the specification of 1989 has them.

const CLEAR = 256;
const END = 257;
const MOST_CODES = 4096;

/** A GIF that repeats pictures of one size, each shown for `hundredths` of a second. */
export function encodeGif(pictures, scale, hundredths) {
  const [{ width, height, channels }] = pictures;
  const size = [...word(width * scale), ...word(height * scale)];
  const bytes = [...letters("GIF89a"), ...size, 0xf7, 0, 0, ...palette(channels),
    0x21, 0xff, 11, ...letters("NETSCAPE2.0"), 3, 1, 0, 0, 0]; // it repeats for ever
  for (const picture of pictures) {
    bytes.push(0x21, 0xf9, 4, 0, ...word(hundredths), 0, 0, 0x2c, 0, 0, 0, 0, ...size, 0, 8);
    const data = compress(colours(picture, scale));
    while (data.length) bytes.push(Math.min(data.length, 255), ...data.splice(0, 255));
    bytes.push(0);
  }
  return new Blob([Uint8Array.from([...bytes, 0x3b])], { type: "image/gif" });
}

const word = (value) => [value & 255, value >> 8];
const letters = (text) => Array.from(text, (letter) => letter.charCodeAt());

/** 256 greys; for coloured images, 8 levels of red and green, and 4 of blue. */
function palette(channels) {
  const cube = (i) => [(i >> 5) / 7, ((i >> 2) & 7) / 7, (i & 3) / 3];
  const colour = (i) => (channels === 1 ? [i, i, i] : cube(i).map((level) => 255 * level));
  return Array.from({ length: 256 }, (_, i) => colour(i)).flat();
}

/** The place of each pixel's colour in the palette, row by row; a pixel becomes scale × scale. */
function colours({ width, height, channels, bytes }, scale) {
  return Uint8Array.from({ length: width * height * scale ** 2 }, (_, i) => {
    const row = Math.floor(i / (width * scale ** 2));
    const start = (row * width + Math.floor((i % (width * scale)) / scale)) * channels;
    if (channels === 1) return bytes[start];
    return (bytes[start] & 0xe0) | ((bytes[start + 1] & 0xe0) >> 3) | (bytes[start + 2] >> 6);
  });
}

/** The codes of Lempel, Ziv and Welch (1984), in bytes. */
function compress(values) {
  const [data, codes] = [[], new Map()];
  let [buffer, filled, bits, prefix] = [0, 0, 9, values[0]];
  const write = (code) => {
    buffer |= code << filled;
    for (filled += bits; filled >= 8; filled -= 8, buffer >>>= 8) data.push(buffer & 255);
  };
  write(CLEAR);
  for (const value of values.subarray(1)) {
    const [key, next] = [prefix * 256 + value, END + 1 + codes.size];
    if (codes.has(key)) {
      prefix = codes.get(key);
      continue;
    }
    write(prefix);
    prefix = value;
    if (next < MOST_CODES) {
      codes.set(key, next);
      if (next === 1 << bits) bits++;
    } else {
      write(CLEAR);
      codes.clear();
      bits = 9;
    }
  }
  write(prefix);
  write(END);
  return [...data, buffer & 255];
}
