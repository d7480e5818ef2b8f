// The page: a camera, a picture or a video in; skeletons on it out. Nothing leaves this machine.

import { Finder, Follow, Pose, once, open } from "./pose.js";

const by = (name) => document.getElementById(name);
const stage = by("stage");
const shown = stage.getContext("2d");
const work = new OffscreenCanvas(1, 1);
const pixels = work.getContext("2d", { willReadFrequently: true });
const video = document.createElement("video");
Object.assign(video, { muted: true, playsInline: true });
const LARGEST = 4096; // pixels of a side; larger pictures are made smaller

let facts, pose, finder;
let run = 0; // which source is being shown; one that is no longer this one stops

function say(text, wrong = false) {
  by("status").textContent = text;
  by("status").classList.toggle("wrong", wrong);
}

function stop() {
  run += 1;
  for (const track of video.srcObject?.getTracks() ?? []) track.stop();
  video.pause();
  if (video.src) URL.revokeObjectURL(video.src);
  video.srcObject = null;
  video.removeAttribute("src");
  by("stop").hidden = true;
  by("speed").textContent = "";
  return run;
}

// The source's pixels as they are, in the canvas that is read
function take(source, width, height) {
  const zoom = Math.min(1, LARGEST / Math.max(width, height));
  work.width = Math.max(1, Math.round(width * zoom));
  work.height = Math.max(1, Math.round(height * zoom));
  pixels.drawImage(source, 0, 0, work.width, work.height);
  return pixels.getImageData(0, 0, work.width, work.height);
}

function draw(people) {
  stage.width = work.width;
  stage.height = work.height;
  shown.drawImage(work, 0, 0);
  for (const person of people) drawPerson(person);
  globalThis.people = people; // for the console, and for the tests
}

function drawPerson({ keypoints, confidence }) {
  const clear = confidence.map((value) => value >= facts.clear);
  const seen = keypoints.filter((_, i) => clear[i]);
  if (!seen.length) return;
  const size = Math.max(...[0, 1].map((a) => Math.max(...seen.map((p) => p[a])) - Math.min(...seen.map((p) => p[a]))));
  const thickness = Math.min(Math.max(Math.round(size / 90), 1), 8);
  const limbs = facts.limbs.filter(([a, b]) => clear[a] && clear[b]);
  shown.lineCap = "round";
  for (const rim of [true, false]) {
    for (const [a, b, colour] of limbs) {
      shown.strokeStyle = rim ? facts.rim : colour;
      shown.lineWidth = thickness + (rim ? 2 : 0);
      shown.beginPath();
      shown.moveTo(keypoints[a][0] + 0.5, keypoints[a][1] + 0.5);
      shown.lineTo(keypoints[b][0] + 0.5, keypoints[b][1] + 0.5);
      shown.stroke();
    }
  }
  keypoints.forEach(([x, y], i) => {
    if (!clear[i]) return;
    for (const [radius, colour] of [[thickness + 2, facts.rim], [thickness + 1, facts.colours[i]]]) {
      shown.fillStyle = colour;
      shown.beginPath();
      shown.arc(x + 0.5, y + 0.5, radius, 0, 2 * Math.PI);
      shown.fill();
    }
  });
}

const counted = (people) => (people.length === 1 ? "1 person" : `${people.length} people`);

async function showPicture(picture, name) {
  const mine = stop();
  stage.classList.remove("mirrored");
  const image = take(picture, picture.width, picture.height);
  draw([]);
  say("looking …");
  await new Promise((done) => setTimeout(done)); // the picture is seen before the work begins
  const begun = performance.now();
  const boxes = finder ? await finder.boxes(image) : null;
  let people = [];
  for (const { box, score } of boxes ?? []) people.push(await pose.one(image, box, score));
  people = boxes ? once(people, facts) : [await pose.whole(image)];
  if (mine !== run) return;
  draw(people);
  say(`${name}: ${counted(people)} in ${Math.round(performance.now() - begun)} ms`);
}

async function showMoving(name, mine, live) {
  const follow = new Follow(pose, finder);
  let speed = 0;
  by("stop").hidden = false;
  say(name);
  while (mine === run && !video.ended) {
    if (video.readyState < 2) {
      await new Promise((done) => setTimeout(done, 20));
      continue;
    }
    const begun = performance.now();
    const image = take(video, video.videoWidth, video.videoHeight);
    const seconds = live ? begun / 1000 : video.currentTime;
    const people = await follow.frame(image, seconds, by("smooth").checked);
    if (mine !== run) return;
    draw(people);
    await new Promise(requestAnimationFrame);
    const now = 1000 / (performance.now() - begun);
    speed = speed ? 0.9 * speed + 0.1 * now : now;
    by("speed").textContent = `${speed.toFixed(1)} frames/s, ${counted(people)}`;
  }
  if (mine === run) {
    stop();
    say(`${name}: the end`);
  }
}

async function openFile(file) {
  say(`${file.name} …`);
  try {
    const straight = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
    await showPicture(await createImageBitmap(file, straight), file.name);
    return;
  } catch (error) {
    if (error.name !== "InvalidStateError") throw error; // it is no picture
  }
  const mine = stop();
  stage.classList.remove("mirrored");
  video.src = URL.createObjectURL(file);
  try {
    await video.play();
  } catch {
    if (mine !== run) return;
    stop();
    say(`${file.name} is neither a picture nor a video that this browser can read.`, true);
    return;
  }
  await showMoving(file.name, mine, false);
}

const REFUSED = {
  NotAllowedError: "The camera was refused. Allow it for this page beside the browser's address, then press Camera again.",
  NotFoundError: "There is no camera here. Choose a picture or a video instead.",
  NotReadableError: "Another program uses the camera. Close it, then press Camera again.",
};

async function openCamera() {
  const mine = stop();
  if (!navigator.mediaDevices) {
    say("Browsers give the camera to pages of localhost or of https only.", true);
    return;
  }
  say("asking for the camera …");
  try {
    const wanted = { facingMode: "user", width: { ideal: 640 }, height: { ideal: 480 } };
    const stream = await navigator.mediaDevices.getUserMedia({ video: wanted });
    if (mine !== run) return stream.getTracks().forEach((track) => track.stop());
    video.srcObject = stream;
    await video.play();
  } catch (error) {
    say(REFUSED[error.name] ?? `The camera can't be used: ${error.message}`, true);
    return;
  }
  stage.classList.add("mirrored");
  await showMoving("camera", mine, true);
}

const guarded = (work) => (...given) => work(...given).catch((error) => say(String(error.message ?? error), true));

async function start() {
  say("opening the network …");
  facts = await (await fetch("network.json")).json();
  pose = new Pose(await open("network.onnx"), facts);
  finder = facts.finder ? new Finder(await open("finder.onnx"), facts.finder) : null;
  by("camera").onclick = guarded(openCamera);
  by("stop").onclick = () => (stop(), say("stopped"));
  by("file").onchange = guarded(async (event) => {
    const [file] = event.target.files;
    event.target.value = ""; // the same one can be chosen again
    if (file) await openFile(file);
  });
  document.ondragover = (event) => event.preventDefault();
  document.ondrop = guarded(async (event) => {
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) await openFile(file);
  });
  for (const name of ["camera", "file"]) by(name).disabled = false;
  document.body.classList.add("ready");
  say("Start the camera, choose a picture or a video, or drop one here. Nothing leaves this machine.");
}

guarded(start)();
