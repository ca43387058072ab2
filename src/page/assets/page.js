// Draws what the viewer tells. Two questions are always open: /frame for the next picture, /state for what else is new.
// Nothing is fetched from elsewhere; text from the device becomes text nodes and never markup.

const HISTORY = 40;
const STRIP_EVERY = 500; // ms: ten shifts a second could not be read
const SPEAK_EVERY = 5000; // ms
const STALLED = 4000; // ms
const RETRY = 1000; // ms

const byId = (id) => document.getElementById(id);
const known = { camera: 0, instance: "", prediction: 0, status: 0, frame: null };
const history = []; // newest first
const thumbnails = new Map(); // frame -> canvas
let stripIsDue = false;
let pictureAt = 0;
let heardAt = 0;
let spokenAt = 0;
let capture = "waiting";

// The address is shown, copied and kept: the token has become a cookie and need not stay in it.
if (location.search) window.history.replaceState(null, "", "/");

const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const percent = (probability) => `${(100 * probability).toFixed(probability > 0.9995 ? 0 : 1)} %`;
const number = (value) => Math.round(value).toLocaleString("en").replaceAll(",", "\u202f");
const tint = (classNumber) => `hsl(${(classNumber * 137.5 + 32) % 360} 62% 52%)`;
const put = (id, text) => { const e = byId(id); if (e.textContent !== text) e.textContent = text; };

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function duration(us) {
  if (us < 1000) return `${us} µs`;
  if (us < 1e6) return `${(us / 1000).toFixed(us < 1e5 ? 1 : 0)} ms`;
  return `${(us / 1e6).toFixed(1)} s`;
}

// ---- pictures

async function followPictures() {
  for (;;) {
    try {
      const { camera } = known;
      const after = known.frame === null ? "" : `&after=${known.frame}`;
      const answer = await fetch(`/frame?camera=${camera}${after}`);
      if (answer.status === 204) continue;
      if (!answer.ok) throw new Error(answer.status);
      const frame = Number(answer.headers.get("margay-frame"));
      const told = answer.headers.get("margay-prediction");
      const bitmap = await createImageBitmap(await answer.blob());
      if (camera !== known.camera) continue;
      known.frame = frame;
      pictureAt = Date.now();
      drawPicture(bitmap, frame);
      drawPrediction(told === null ? null : JSON.parse(decodeURIComponent(told)), frame, answer.headers.get("margay-item"));
      bitmap.close();
    } catch {
      await pause(RETRY);
    }
  }
}

function drawPicture(bitmap, frame) {
  const canvas = byId("picture");
  if (canvas.width !== bitmap.width || canvas.height !== bitmap.height) {
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
  }
  canvas.getContext("2d").drawImage(bitmap, 0, 0);
  const small = document.createElement("canvas");
  small.width = 172;
  small.height = 128;
  const scale = Math.max(small.width / bitmap.width, small.height / bitmap.height);
  const [width, height] = [bitmap.width * scale, bitmap.height * scale];
  small.getContext("2d").drawImage(bitmap, (small.width - width) / 2, (small.height - height) / 2, width, height);
  thumbnails.set(frame, small);
  if (thumbnails.size > 2 * HISTORY) thumbnails.delete(thumbnails.keys().next().value);
}

function drawPrediction(prediction, frame, item) {
  const view = byId("view");
  const best = prediction?.classes[0];
  view.dataset.frame = frame;
  view.dataset.item = item;
  view.dataset.label = best?.label ?? "";
  put("label", best?.label ?? "no prediction");
  put("probability", best ? percent(best.probability) : "");
  put("what", `frame ${number(frame)}` + (prediction ? ` · ${duration(prediction.total_us)} from capture` : ""));
  view.style.setProperty("--tint", tint(best?.class ?? 0));
  byId("meter").style.width = `${100 * (best?.probability ?? 0)}%`;
  const others = (prediction?.classes ?? []).slice(1).map((one) => {
    const line = element("li");
    line.append(element("span", one.label), element("span", percent(one.probability)));
    return line;
  });
  byId("runners").replaceChildren(...others);
  if (best && Date.now() - spokenAt > SPEAK_EVERY) {
    spokenAt = Date.now();
    put("spoken", `${best.label}, ${percent(best.probability)}`);
  }
}

// ---- state

async function followState() {
  for (;;) {
    try {
      const { camera, prediction, status } = known;
      const answer = await fetch(`/state?camera=${camera}&prediction=${prediction}&status=${status}`);
      if (answer.status === 403) {
        say("bad", "the core asks for its token: open the address that it printed");
        await pause(5 * RETRY);
        continue;
      }
      if (!answer.ok) throw new Error(answer.status);
      const news = await answer.json();
      if (camera === known.camera) take(news);
      await pause(100);
    } catch {
      if (Date.now() - heardAt > 2 * RETRY) say("bad", "the core does not answer");
      await pause(RETRY);
    }
  }
}

function take(news) {
  heardAt = Date.now();
  if (news.instance !== known.instance) {
    // Another viewer counts anew; what it does not know of the old one stays on screen until it has more.
    const first = known.instance === "";
    Object.assign(known, { instance: news.instance, prediction: 0, status: 0, frame: null });
    if (!first) return;
  }
  known.prediction = news.prediction;
  for (const prediction of news.predictions) {
    if (!history.some((one) => one.frame === prediction.frame)) history.unshift(prediction);
  }
  history.length = Math.min(history.length, HISTORY);
  stripIsDue ||= news.predictions.length > 0;
  drawLatency(news.latency);
  if (news.status) {
    known.status = news.status_version;
    drawStatus(news.status);
  }
}

function drawStrip() {
  const strip = byId("strip");
  // Whoever looks closely wants it to hold still.
  if (!stripIsDue || strip.matches(":hover, :focus") || document.hidden) return;
  stripIsDue = false;
  strip.replaceChildren(...history.map((prediction) => {
    const best = prediction.classes[0];
    const line = element("li", undefined, { title: `frame ${prediction.frame}, ${duration(prediction.total_us)}` });
    line.style.setProperty("--tint", tint(best?.class ?? 0));
    line.style.setProperty("--sure", `${Math.round(100 * (best?.probability ?? 0))}%`);
    line.append(
      thumbnails.get(prediction.frame) ?? element("canvas", undefined, { width: 172, height: 128 }),
      element("div", undefined, { class: "tint" }),
      element("b", best?.label ?? "nothing"),
      element("span", best ? percent(best.probability) : ""),
    );
    return line;
  }));
}

function drawLatency({ frames, per_second, stages }) {
  put("rate", frames ? `${per_second.toFixed(1)} a second` : "");
  put("window", frames ? `of the last ${number(frames)} frames` : "");
  const parts = stages.filter((stage) => stage.name !== "total");
  const total = stages.find((stage) => stage.name === "total");
  // Quantiles of stages do not add up to that of the total; both bars are drawn to one scale.
  const scale = Math.max(1, ...["p50", "p99"].map((p) => parts.reduce((sum, stage) => sum + stage[p], 0)));
  for (const p of ["p50", "p99"]) {
    const bar = byId(p);
    while (bar.children.length < parts.length) bar.append(element("i"));
    parts.forEach((stage, place) => {
      bar.children[place].style.setProperty("--tint", `var(--stage-${stage.name})`);
      bar.children[place].style.width = `${(100 * stage[p]) / scale}%`;
    });
    put(`${p}-total`, total ? duration(total[p]) : "");
  }
  const body = byId("stages");
  if (body.children.length !== stages.length) {
    body.replaceChildren(...stages.map((stage) => {
      const row = element("tr");
      row.style.setProperty("--tint", `var(--stage-${stage.name})`);
      row.append(element("th", stage.name, { scope: "row" }), element("td"), element("td"));
      return row;
    }));
  }
  stages.forEach((stage, place) => {
    const cells = body.children[place].children;
    cells[1].textContent = duration(stage.p50);
    cells[2].textContent = duration(stage.p99);
  });
}

// ---- status

const REASONS = {
  superseded: ["superseded by a newer frame", "#a8a29e"],
  overwritten: ["overwritten before it was read", "#f97316"],
  no_worker: ["without a worker", "#ef4444"],
  undecodable: ["undecodable", "#a855f7"],
  inference_failed: ["failed in the engine", "#be123c"],
};

function list(id, entries) {
  byId(id).replaceChildren(...entries.flatMap(([name, value, kind]) => {
    if (value === null || value === undefined || value === "") return [];
    const detail = kind === "code" ? element("dd") : element("dd", String(value), { title: String(value) });
    if (kind === "code") detail.append(element("code", String(value), { title: String(value) }));
    if (kind === "long") detail.className = "long";
    return [element("dt", name), detail];
  }));
}

// What goes on after the text is not read out again each time it changes.
function say(state, text, more = "") {
  Object.assign(byId("link").dataset, { state, more });
  put("link", text);
}

function drawStatus(status) {
  if (!status) return;
  const camera = status.cameras[known.camera];
  const classifier = camera?.classifier;
  put("thing", classifier ? `${status.thing} · ${classifier.camera}` : status.thing);
  document.title = `${status.thing} · Margay`;
  drawCameras(status.cameras);
  drawLink(status);
  if (classifier) drawClassifier(camera, classifier);
  drawWorkers([...(classifier?.workers ?? []), status.page?.worker].filter(Boolean), classifier?.restarts, status.page);
  const hours = Math.floor(status.uptime_s / 3600);
  const up = hours ? `${hours} h ${Math.floor(status.uptime_s / 60) % 60} min` : `${Math.floor(status.uptime_s / 60)} min ${status.uptime_s % 60} s`;
  const lines = [`margay ${status.version}, pid ${status.pid}, up ${up}`, ...status.warnings.map((text) => `warning: ${text}`)];
  byId("footer").replaceChildren(...lines.map((text) => element("p", text)));
}

function drawCameras(cameras) {
  const nav = byId("cameras");
  nav.hidden = cameras.length < 2;
  if (nav.hidden || nav.children.length === cameras.length) return;
  nav.replaceChildren(...cameras.map((camera, place) => {
    const button = element("button", camera.classifier?.camera ?? camera.topic, { "aria-pressed": place === known.camera });
    button.addEventListener("click", () => choose(place));
    return button;
  }));
}

function choose(place) {
  Object.assign(known, { camera: place, prediction: 0, status: 0, frame: null });
  history.length = 0;
  thumbnails.clear();
  [...byId("cameras").children].forEach((button, n) => button.setAttribute("aria-pressed", n === place));
}

function drawLink({ link, credentials, clock }) {
  const spooled = link.queued + link.in_flight;
  if (link.connected) say("good", "connected");
  else say("bad", "offline", spooled ? `${number(spooled)} in the spool` : "");
  put("delivered", number(link.delivered));
  put("queued", number(link.queued));
  put("flying", number(link.in_flight));
  const lost = Object.entries(link.dropped).filter(([, count]) => count > 0);
  list("cloud", [
    ["broker", link.endpoint],
    ["trouble", link.trouble, "long"],
    ...lost.map(([reason, count]) => [`dropped, ${reason.replaceAll("_", " ")}`, number(count)]),
    ["credentials", credentials.valid_until ? `until ${new Date(credentials.valid_until).toLocaleTimeString()}` : "none yet"],
    ["no credentials", credentials.failure, "long"],
    ["clock", clock.confirmed_by_server ? "confirmed by a server" : "not confirmed yet"],
  ]);
}

function drawClassifier(camera, { captured, skipped, ledger, model, capture: state, restarts }) {
  capture = state;
  const drops = Object.entries(ledger.dropped);
  const dropped = drops.reduce((sum, [, count]) => sum + count, 0);
  put("captured", number(captured));
  put("inferred", number(ledger.inferred));
  put("dropped", number(dropped));
  const open = captured - ledger.inferred - dropped;
  put("balance", open > 0 ? `${number(open)} in flight` : "every frame accounted for");
  const shares = [["classified", ledger.inferred, "var(--good)"], ...drops.map(([r, n]) => [r, n, REASONS[r]?.[1] ?? "#777"])];
  byId("share").replaceChildren(...shares.map(([, count, colour]) => {
    const part = element("i");
    part.style.setProperty("--tint", colour);
    part.style.flex = String(count);
    return part;
  }));
  list("drops", [
    ...drops.map(([reason, count]) => [REASONS[reason]?.[0] ?? reason, number(count)]),
    ["skipped by the source", skipped ? number(skipped) : null],
  ]);
  const { deployment } = camera;
  put("deployment", deployment.state.replaceAll("_", " "));
  list("model", [
    ["name", model ? `${model.name} ${model.version}` : "none yet"],
    ["digest", model?.digest.replace("sha256:", "").slice(0, 16), "code"],
    ["from", deployment.source],
    ["resource", deployment.resource],
    ["topic", camera.topic],
    ["trouble", deployment.failure, "long"],
    ["last refusal", restarts.inference_reason, "long"],
  ]);
}

function drawWorkers(workers, restarts, page) {
  const open = new Set([...document.querySelectorAll("#workers details[open]")].map((one) => one.dataset.role));
  const again = { capture: restarts?.capture, inference: restarts?.inference, viewer: page?.restarts };
  byId("workers").replaceChildren(...workers.map(({ role, pid, user, containment }) => {
    const rows = containment.rows.map(([aspect, found]) => [aspect, ...Object.entries(found)[0]]);
    const holding = rows.filter(([, state]) => state === "holds").length;
    const summary = element("summary");
    const all = holding === rows.length ? "yes" : "no";
    const times = again[role] ? `, restarted ${again[role]} ×` : "";
    summary.append(
      element("b", role),
      element("span", `${holding} of ${rows.length} hold`, { class: "held", "data-all": all }),
      element("small", `pid ${pid}, ${user}${times}`),
    );
    const details = element("details", undefined, { "data-role": role });
    details.open = open.has(role);
    const table = element("dl");
    for (const [aspect, state, text] of rows) {
      table.append(element("dt", aspect.replaceAll("_", " "), { class: state }), element("dd", text));
    }
    details.append(summary, table);
    const line = element("li");
    line.append(details);
    return line;
  }));
}

// ---- whether it still moves

function watch() {
  const view = byId("view");
  const now = Date.now();
  const still = now - Math.max(pictureAt, heardAt === 0 ? now : 0);
  if (heardAt && now - heardAt > STALLED) {
    view.dataset.state = "stalled";
    put("stall", `no word from the core for ${Math.round((now - heardAt) / 1000)} s`);
  } else if (pictureAt && now - pictureAt < STALLED) {
    view.dataset.state = "live";
  } else if (pictureAt) {
    view.dataset.state = "stalled";
    const why = { ended: "the source has ended", restarting: "the camera is restarted", starting: "the camera is started" }[capture];
    put("stall", `no new picture for ${Math.round(still / 1000)} s` + (why ? `: ${why}` : ""));
  } else {
    view.dataset.state = "waiting";
  }
}

setInterval(drawStrip, STRIP_EVERY);
setInterval(watch, 500);
followPictures();
followState();
