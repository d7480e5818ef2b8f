// From a picture to poses: the arithmetic of featherpose's Python, step by step.
// crop.py, inference/outputs.py, boxes.py, pose.py and smoothing.py say why each step is as it is.

import * as ort from "./ort/ort.wasm.bundle.min.mjs";

ort.env.wasm.wasmPaths = { wasm: new URL("./ort/ort-wasm-simd-threaded.wasm", import.meta.url).href };
// threads need a page that is cross-origin isolated; two that wait for each other can be slower than one
ort.env.wasm.numThreads = 1;

export async function open(address) {
  const session = await ort.InferenceSession.create(address);
  return session;
}

export function tensor(values, shape, bytes = false) {
  return bytes
    ? new ort.Tensor("uint8", Uint8Array.from(values), shape)
    : new ort.Tensor("float32", values, shape);
}

// To the nearest whole number, ties to the even one, as C does it
function rint(value) {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}

// The crop of a box: where its left upper corner lies and how many crop pixels a picture's pixel takes
export function cropOf(box, [height, width], { padding, unit }) {
  const [x, y, w, h] = box;
  const centre = [x + w * 0.5, y + h * 0.5];
  const scale = [w * (padding / unit), h * (padding / unit)];
  const zoom = width / (Math.max(scale[0], scale[1] * (width / height)) * unit);
  return { zoom, x: width * 0.5 - zoom * centre[0], y: height * 0.5 - zoom * centre[1] };
}

// OpenCV's bilinear warp: places in 1/32 of a pixel, weights in whole numbers, black outside. Gives planes R, G, B.
export function cut(picture, crop, [height, width]) {
  const { data, width: across, height: down } = picture;
  const back = crop.zoom / (crop.zoom * crop.zoom);
  const left = -(back * crop.x);
  const top = -(back * crop.y);
  const planes = new Uint8Array(3 * height * width);
  const columns = new Int32Array(width);
  for (let x = 0; x < width; x++) columns[x] = rint(back * x * 1024);
  const startX = rint(left * 1024) + 16;
  for (let y = 0; y < height; y++) {
    const placeY = (rint((back * y + top) * 1024) + 16) >> 5;
    const [row, fy] = [placeY >> 5, placeY & 31];
    for (let x = 0; x < width; x++) {
      const placeX = (startX + columns[x]) >> 5;
      const [column, fx] = [placeX >> 5, placeX & 31];
      if (column < -1 || row < -1 || column >= across || row >= down) continue;
      for (let channel = 0; channel < 3; channel++) {
        let sum = 1 << 14;
        for (let j = 0; j < 2; j++) {
          for (let i = 0; i < 2; i++) {
            const [v, u] = [row + j, column + i];
            if (v < 0 || u < 0 || v >= down || u >= across) continue;
            const weight = (i ? fx : 32 - fx) * (j ? fy : 32 - fy) * 32;
            sum += data[(v * across + u) * 4 + channel] * weight;
          }
        }
        planes[(channel * height + y) * width + x] = sum >> 15;
      }
    }
  }
  return planes;
}

export function mirrored(planes, width) {
  const out = new planes.constructor(planes.length);
  for (let at = 0; at < planes.length; at += width) {
    for (let x = 0; x < width; x++) out[at + x] = planes[at + width - 1 - x];
  }
  return out;
}

export class Pose {
  constructor(session, facts) {
    this.session = session;
    this.facts = facts;
  }

  // Heatmaps (K, h, w), or keypoints and confidences where the graph decodes
  async outputs(planes) {
    const { input_size: size, mean, deviation, takes_bytes: bytes } = this.facts;
    let values = planes;
    if (!bytes) {
      values = new Float32Array(planes.length);
      const length = size[0] * size[1];
      for (let channel = 0; channel < 3; channel++) {
        const [m, d] = [Math.fround(Math.fround(mean[channel]) * 255), Math.fround(Math.fround(deviation[channel]) * 255)];
        for (let i = channel * length; i < (channel + 1) * length; i++) {
          values[i] = Math.fround(planes[i] - m) / d;
        }
      }
    }
    const images = tensor(values, [1, 3, ...size], bytes);
    return this.session.run({ [this.session.inputNames[0]]: images });
  }

  // Keypoints in crop pixels and confidences
  async estimate(planes) {
    const { facts } = this;
    const width = facts.input_size[1];
    const found = await this.outputs(planes);
    if (facts.decoder_inside) {
      return { points: pairs(found.keypoints.data), confidence: Array.from(found.confidence.data) };
    }
    const name = facts.heatmaps;
    const [, joints, h, w] = found[name].dims;
    let maps = found[name].data;
    if (facts.flip) {
      const other = (await this.outputs(mirrored(planes, width)))[name].data;
      const turned = mirrored(other, w);
      const both = new Float32Array(maps.length);
      for (let joint = 0; joint < joints; joint++) {
        for (let y = 0; y < h; y++) {
          const here = (joint * h + y) * w;
          const there = (facts.flip_order[joint] * h + y) * w;
          for (let x = 0; x < w; x++) {
            const from = facts.shift ? Math.max(x - 1, 0) : x;
            both[here + x] = Math.fround(maps[here + x] + turned[there + from]) / 2;
          }
        }
      }
      maps = both;
    }
    return decode(maps, joints, h, w, facts.stride, facts.decoder);
  }

  // One person in a box of the picture
  async one(picture, box, score = 1) {
    const crop = cropOf(box, this.facts.input_size, this.facts.crop);
    const { points, confidence } = await this.estimate(cut(picture, crop, this.facts.input_size));
    const back = 1 / crop.zoom;
    const keypoints = points.map(([x, y]) => [(x - crop.x) * back, (y - crop.y) * back]);
    const clear = confidence.filter((value) => value > this.facts.clear);
    const mean = clear.length ? clear.reduce((a, b) => a + b, 0) / clear.length : 0;
    return { keypoints, confidence, box, score: score * mean };
  }

  // One person, looked for in the whole picture and then around what was found
  async whole(picture) {
    let person = await this.one(picture, wholePicture(picture, this.facts.crop));
    for (let look = 0; look < this.facts.looks; look++) {
      const box = this.closer(person, picture);
      if (box === null) break;
      const again = await this.one(picture, box);
      if (again.score < person.score) break;
      person = again;
    }
    return person;
  }

  closer(person, picture) {
    const clear = person.keypoints.filter((_, i) => person.confidence[i] >= this.facts.clear);
    if (clear.length < this.facts.fewest) return null;
    const box = extent(clear, picture, this.facts.margin);
    return Math.min(box[2], box[3]) >= 1 ? box : null;
  }
}

function pairs(values) {
  const out = [];
  for (let i = 0; i < values.length; i += 2) out.push([values[i], values[i + 1]]);
  return out;
}

export function decode(maps, joints, h, w, stride, how) {
  const points = [];
  const confidence = [];
  for (let joint = 0; joint < joints; joint++) {
    const map = maps.subarray(joint * h * w, (joint + 1) * h * w);
    let place = 0;
    for (let i = 1; i < map.length; i++) if (map[i] > map[place]) place = i;
    confidence.push(map[place]);
    if (!(map[place] > 0)) place = 0;
    let [x, y] = [place % w, Math.floor(place / w)];
    if (how === "quarter" && x > 1 && y > 1 && x < w - 1 && y < h - 1) {
      const at = (i) => map[Math.min(Math.max(place + i, 0), map.length - 1)];
      x += 0.25 * Math.sign(at(1) - at(-1));
      y += 0.25 * Math.sign(at(w) - at(-w));
    }
    if (how === "dark") {
      const [across, down] = newton(map, x, y, w, h);
      [x, y] = [x + across, y + down];
    }
    points.push([x * stride, y * stride]);
  }
  return { points, confidence };
}

const REACH = 5; // of DARK's smoothing, to each side; its deviation as OpenCV derives it, for targets of 2
const FLOOR = 1e-10;
const KERNEL = Array.from({ length: 2 * REACH + 1 }, (_, i) => Math.exp(-0.5 * ((i - REACH) / (0.3 * (REACH - 1) + 0.8)) ** 2));
const KERNEL_SUM = KERNEL.reduce((a, b) => a + b, 0);

// DARK: one Newton step on the logarithm of the smoothed map, which is 0 outside; none beside the edge
function newton(map, x, y, w, h) {
  if (!(x > 1 && y > 1 && x < w - 2 && y < h - 2)) return [0, 0];
  const smoothed = (across, down) => {
    let sum = 0;
    for (let j = -REACH; j <= REACH; j++) {
      const row = y + down + j;
      if (row < 0 || row >= h) continue;
      for (let i = -REACH; i <= REACH; i++) {
        const column = x + across + i;
        if (column >= 0 && column < w) sum += map[row * w + column] * KERNEL[i + REACH] * KERNEL[j + REACH];
      }
    }
    return Math.log(Math.max(sum / KERNEL_SUM ** 2, FLOOR));
  };
  const here = smoothed(0, 0);
  const [right, left, below, above] = [smoothed(1, 0), smoothed(-1, 0), smoothed(0, 1), smoothed(0, -1)];
  const dx = (right - left) / 2;
  const dy = (below - above) / 2;
  const dxx = (smoothed(2, 0) - 2 * here + smoothed(-2, 0)) / 4;
  const dyy = (smoothed(0, 2) - 2 * here + smoothed(0, -2)) / 4;
  const dxy = (smoothed(1, 1) - smoothed(1, -1) - smoothed(-1, 1) + smoothed(-1, -1)) / 4;
  const determinant = dxx * dyy - dxy ** 2;
  if (determinant === 0) return [0, 0];
  return [(dxy * dy - dyy * dx) / determinant, (dxy * dx - dxx * dy) / determinant];
}

export function wholePicture({ width, height }, { padding }) {
  const [w, h] = [width / padding, height / padding];
  return [(width - w) / 2, (height - h) / 2, w, h];
}

// The box around joints, grown by a margin and cut at the picture's edge
export function extent(points, { width, height }, margin) {
  const low = [0, 1].map((axis) => Math.min(...points.map((point) => point[axis])));
  const high = [0, 1].map((axis) => Math.max(...points.map((point) => point[axis])));
  const limits = [width, height];
  const [from, to] = [-1, 1].map((side) =>
    [0, 1].map((axis) => {
      const half = ((high[axis] - low[axis]) / 2) * margin;
      return Math.min(Math.max((low[axis] + high[axis]) / 2 + side * half, 0), limits[axis]);
    }),
  );
  return [from[0], from[1], to[0] - from[0], to[1] - from[1]];
}

export function overlap(one, other) {
  const side = (axis) =>
    Math.max(0, Math.min(one[axis] + one[axis + 2], other[axis] + other[axis + 2]) - Math.max(one[axis], other[axis]));
  const shared = side(0) * side(1);
  const both = one[2] * one[3] + other[2] * other[3] - shared;
  return both > 0 ? shared / both : 0;
}

// The One-Euro filter of one person's keypoints
export class OneEuro {
  constructor({ cutoff, speed, speed_cutoff: speedCutoff }) {
    Object.assign(this, { cutoff, speed, speedCutoff, last: null, velocity: null });
  }

  smooth(points, seconds, size) {
    if (this.last === null || seconds <= 0) {
      this.last = points.map((point) => [...point]);
      this.velocity = points.map(() => [0, 0]);
      return points;
    }
    const weight = (cutoff) => {
      const step = 2 * Math.PI * cutoff * seconds;
      return step / (step + 1);
    };
    this.last = points.map((point, i) => {
      for (const axis of [0, 1]) {
        const velocity = (point[axis] - this.last[i][axis]) / seconds;
        this.velocity[i][axis] += weight(this.speedCutoff) * (velocity - this.velocity[i][axis]);
      }
      const speed = Math.hypot(...this.velocity[i]) / Math.max(size, 1);
      const rate = weight(this.cutoff + this.speed * speed);
      return point.map((value, axis) => this.last[i][axis] + rate * (value - this.last[i][axis]));
    });
    return this.last.map((point) => [...point]);
  }
}

// The people of a moving picture: boxes follow the poses; who is lost is looked for again
export class Follow {
  constructor(pose, finder = null, every = 10) {
    Object.assign(this, { pose, finder, every, tracks: [], since: 0, next: 0 });
  }

  async frame(picture, seconds, smooth) {
    const { facts } = this.pose;
    if (!this.tracks.some((track) => track.box) || (this.finder && this.since >= this.every)) {
      await this.find(picture);
    }
    this.since += 1;
    const people = [];
    for (const track of this.tracks.filter((each) => each.box)) {
      const person = await this.pose.one(picture, track.box);
      track.box = this.next_box(person, picture, people);
      if (track.box === "twice") continue;
      person.identity = track.name;
      const shown = { ...person };
      if (smooth) {
        const size = extent(person.keypoints, { width: 1e6, height: 1e6 }, facts.margin)[3];
        shown.keypoints = track.filter.smooth(person.keypoints, seconds - (track.seconds ?? seconds), size);
        track.seconds = seconds;
      }
      people.push(shown);
    }
    this.tracks = this.tracks.filter((track) => track.box !== "twice" && (track.box || !this.finder));
    return people;
  }

  next_box(person, picture, before) {
    const { facts } = this.pose;
    const clear = person.keypoints.filter((_, i) => person.confidence[i] > facts.lost / 2);
    const mean = person.confidence.reduce((a, b) => a + b, 0) / person.confidence.length;
    if (mean < facts.lost || clear.length < facts.fewest) return null;
    const box = extent(clear, picture, facts.margin);
    if (before.some((other) => overlap(extent(other.keypoints, picture, facts.margin), box) >= 0.7)) return "twice";
    return Math.min(box[2], box[3]) >= 2 ? box : null;
  }

  async find(picture) {
    const { facts } = this.pose;
    this.since = 0;
    const found = this.finder ? await this.finder.boxes(picture) : null;
    const boxes = found ? found.map(({ box }) => box) : [wholePicture(picture, facts.crop)];
    const known = [...this.tracks];
    this.tracks = boxes.map((box) => {
      const match = known.findIndex((track) => !this.finder || (track.box && overlap(track.box, box) > 0.3));
      if (match >= 0) return { ...known.splice(match, 1)[0], box };
      return { name: this.next++, box, filter: new OneEuro(facts.smoothing) };
    });
  }
}

// Poses without the weaker one of each person who was found twice: their joints are as alike as one person's
export function once(people, { sigmas, alike }) {
  const area = ({ box }) => box[2] * box[3];
  const likeness = (one, other) => {
    const size = (area(one) + area(other)) / 2 + Number.EPSILON;
    const terms = sigmas.map((sigma, i) => {
      const [x, y] = [0, 1].map((axis) => one.keypoints[i][axis] - other.keypoints[i][axis]);
      return Math.exp(-((x * x + y * y) / (2 * sigma) ** 2 / size / 2));
    });
    return terms.reduce((a, b) => a + b, 0) / sigmas.length;
  };
  const kept = [];
  for (const person of [...people].sort((a, b) => b.score - a.score)) {
    if (kept.every((other) => likeness(other, person) <= alike)) kept.push(person);
  }
  return people.filter((person) => kept.includes(person));
}

// Where each of `count` pixels lies among `from` of them, and the weights of its two neighbours in 1/2048
function taps(count, from) {
  const scale = 1 / (count / from);
  return Array.from({ length: count }, (_, i) => {
    const place = Math.fround((i + 0.5) * scale - 0.5);
    const low = Math.floor(place);
    const rest = Math.fround(place - low);
    return [low, rint(Math.fround(Math.fround(1 - rest) * 2048)), rint(Math.fround(rest * 2048))];
  });
}

// OpenCV's bilinear resize of 8-bit pictures in its own whole-number arithmetic; gives R, G, B of each pixel
export function resized({ data, width, height }, across, down) {
  const out = new Uint8Array(3 * across * down);
  const at = (x, y) => 4 * (y * width + x);
  if (width === 2 * across && height === 2 * down) {
    // exactly by half it takes the mean of four
    for (let y = 0, to = 0; y < down; y++) {
      for (let x = 0; x < across; x++) {
        const corner = at(2 * x, 2 * y);
        for (let channel = 0; channel < 3; channel++) {
          const from = corner + channel;
          const sum = data[from] + data[from + 4] + data[from + 4 * width] + data[from + 4 * width + 4];
          out[to++] = (sum + 2) >> 2;
        }
      }
    }
    return out;
  }
  const columns = taps(across, width).map(([x, a, b]) => {
    if (x < 0) return [0, Math.min(1, width - 1), 2048, 0];
    if (x >= width - 1) return [width - 1, width - 1, 2048, 0];
    return [x, x + 1, a, b];
  });
  const row = (y, line) => {
    for (let x = 0; x < across; x++) {
      const [left, right, a, b] = columns[x];
      const [one, other] = [at(left, y), at(right, y)];
      for (let channel = 0; channel < 3; channel++) {
        line[3 * x + channel] = data[one + channel] * a + data[other + channel] * b;
      }
    }
  };
  const clamp = (y) => Math.min(Math.max(y, 0), height - 1);
  const [above, below] = [new Int32Array(3 * across), new Int32Array(3 * across)];
  taps(down, height).forEach(([y, a, b], place) => {
    row(clamp(y), above);
    row(clamp(y + 1), below);
    for (let i = 0; i < 3 * across; i++) {
      const sum = ((a * (above[i] >> 4)) >> 16) + ((b * (below[i] >> 4)) >> 16);
      out[3 * across * place + i] = (sum + 2) >> 2;
    }
  });
  return out;
}

const PAD = 114; // the grey beside the picture

// People's boxes by a YOLOX: letterbox at the top left, offsets on the grids of strides 8, 16, 32
export class Finder {
  constructor(session, facts) {
    Object.assign(this, { session, facts });
  }

  // Height and width of the letterbox: the file's own, or of about the picture's form and so many pixels
  sides({ width, height }) {
    const { size, area, step, longest } = this.facts;
    if (area === null) return size;
    const zoom = Math.sqrt(area / (width * height));
    const cells = [height, width].map((side) => rint((side * zoom) / step));
    return cells.map((count) => Math.min(Math.max(count, 1), Math.floor(longest / step)) * step);
  }

  async boxes(picture) {
    const [height, width] = this.sides(picture);
    const zoom = Math.min(height / picture.height, width / picture.width);
    const [across, down] = [picture.width, picture.height].map((side) => Math.max(1, rint(side * zoom)));
    const small = resized(picture, across, down);
    const values = new Float32Array(3 * width * height).fill(PAD);
    for (let channel = 0; channel < 3; channel++) {
      const plane = (2 - channel) * width * height; // B, G, R
      for (let y = 0; y < down; y++) {
        for (let x = 0; x < across; x++) values[plane + y * width + x] = small[3 * (y * across + x) + channel];
      }
    }
    const found = await this.session.run({ [this.session.inputNames[0]]: tensor(values, [1, 3, height, width]) });
    const output = found[this.session.outputNames[0]];
    const boxes = this.kept(output.data, output.dims[2], [height, width], zoom, picture);
    return boxes.length || !this.facts.always ? boxes : null;
  }

  kept(rows, columns, [height, width], zoom, picture) {
    const candidates = [];
    let row = 0;
    for (const stride of [8, 16, 32]) {
      for (let y = 0; y < Math.ceil(height / stride); y++) {
        for (let x = 0; x < Math.ceil(width / stride); x++, row++) {
          const at = row * columns;
          const score = rows[at + 4] * rows[at + 5];
          if (score < this.facts.threshold) continue;
          const centre = [(rows[at] + x) * stride, (rows[at + 1] + y) * stride];
          const half = [(Math.exp(rows[at + 2]) * stride) / 2, (Math.exp(rows[at + 3]) * stride) / 2];
          const corner = (side, axis, limit) =>
            Math.min(Math.max((centre[axis] + side * half[axis]) / zoom, 0), limit);
          const [left, right] = [-1, 1].map((side) => corner(side, 0, picture.width));
          const [top, bottom] = [-1, 1].map((side) => corner(side, 1, picture.height));
          if (right - left >= 2 && bottom - top >= 2) {
            candidates.push({ score, box: [left, top, right - left, bottom - top] });
          }
        }
      }
    }
    const kept = [];
    for (const candidate of candidates.sort((a, b) => b.score - a.score)) {
      if (kept.every((other) => overlap(other.box, candidate.box) <= this.facts.overlap)) kept.push(candidate);
    }
    return kept.slice(0, this.facts.most);
  }
}
