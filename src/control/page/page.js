"use strict";

// Asks for everything once a second and shows it. Nothing is changed from here.

const EVERY_MS = 1000;
const POINTS = 60;
const byId = (id) => document.getElementById(id);
const rates = new Map();
let token = sessionStorage.getItem("token");
let paused = false;
let timer = 0;

// A link may carry the token behind its #, which no browser sends on.
const given = new URLSearchParams(location.hash.slice(1)).get("token");
if (given) {
  token = given;
  sessionStorage.setItem("token", token);
  history.replaceState(null, "", location.pathname);
}

function element(name, text, kind) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (kind) made.className = kind;
  return made;
}

// Three digits and a unit; a dash for what is not known.
function time(seconds) {
  if (seconds === null || seconds === undefined) return "–";
  if (seconds === 0) return "0";
  const [scale, unit] = seconds < 1e-3 ? [1e6, "µs"] : seconds < 1 ? [1e3, "ms"] : [1, "s"];
  return `${Number((seconds * scale).toPrecision(3))} ${unit}`;
}

function number(value) {
  if (value === null || value === undefined) return "–";
  return value >= 100 || Number.isInteger(value) ? Math.round(value).toLocaleString("en") : value.toFixed(1);
}

const share = (value) => (value === null || value === undefined ? "–" : `${Math.round(value * 100)} %`);

// The last minute of a core's requests.
function sparkline(core, rate) {
  const line = rates.get(core) ?? [];
  line.push(rate ?? 0);
  while (line.length > POINTS) line.shift();
  rates.set(core, line);
  const most = Math.max(1, ...line);
  const at = (value, index) => `${(POINTS - line.length + index).toFixed(1)},${(20 - (18 * value) / most).toFixed(1)}`;
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", `0 0 ${POINTS - 1} 21`);
  svg.setAttribute("preserveAspectRatio", "none");
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `requests a second of core ${core} over the last minute, at most ${number(most)}`);
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", `M${line.map(at).join("L")}`);
  svg.append(path);
  return svg;
}

// Columns: heading, what is in a cell (text, a node, or text with a class), and the class of the column.
function table(id, rows, columns, none) {
  const head = element("thead");
  const titles = element("tr");
  for (const [title, , kind] of columns) {
    const cell = element("th", title, kind);
    cell.scope = "col";
    titles.append(cell);
  }
  head.append(titles);
  const body = element("tbody");
  for (const row of rows) {
    const line = element("tr");
    for (const [, of, kind] of columns) {
      const found = of(row);
      const cell = element("td", undefined, kind);
      cell.append(Array.isArray(found) ? element("span", found[0], found[1]) : found);
      line.append(cell);
    }
    body.append(line);
  }
  if (rows.length === 0) {
    const cell = element("td", none);
    cell.colSpan = columns.length;
    const line = element("tr");
    line.append(cell);
    body.append(line);
  }
  byId(id).replaceChildren(head, body);
}

// The worst of some breakers: that of an endpoint, that of its upstream. One that is not there is null.
function breaker(states) {
  const found = states.filter((state) => state);
  const worst = found.find((state) => state !== "closed") ?? found[0] ?? "none";
  return worst === "closed" || worst === "none" ? worst : [worst, "bad"];
}

function show(live) {
  const { plan, figures } = live;
  const totals = [
    ["requests/s", number(figures?.requests)],
    ["p50", time(figures?.latency.p50)],
    ["p99", time(figures?.latency["p99"])],
    ["p99.9", time(figures?.latency["p99.9"])],
    ["connections", number(live.cores.reduce((sum, core) => sum + (core.connections ?? 0), 0))],
    ["5xx/s", number(figures?.status["5xx"])],
  ];
  byId("totals").replaceChildren(
    ...totals.map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }),
  );
  const state = plan.draining ? "draining" : "running";
  const undone = plan.undone_in === null ? "" : `, undone in ${Math.round(plan.undone_in)} s unless confirmed`;
  byId("summary").textContent = `plan ${plan.epoch}, ${state}${undone}`;
  const measured = new Map((figures?.cores ?? []).map((core) => [core.core, core]));
  table("cores", live.cores, [
    ["core", (core) => String(core.core)],
    ["answers", (core) => (core.answers ? "yes" : ["no", "bad"])],
    ["connections", (core) => number(core.connections), "number"],
    ["requests/s", (core) => number(core.requests), "number"],
    ["last minute", (core) => sparkline(core.core, core.requests)],
    ["p99", (core) => time(core.p99), "number"],
    ["CPU", (core) => share(core.cpu), "number"],
    ["busy", (core) => share(measured.get(core.core)?.busy), "number"],
    ["longest turn", (core) => time(core.worst_stall), "number"],
  ]);
  table("routes", live.routes, [
    ["route", (route) => route.name],
    ["path", (route) => route.path],
    ["answers", (route) => (route.upstream === null ? route.answers : `upstream ${route.upstream}`)],
    ["requests/s", (route) => number(route.requests), "number"],
    ["p50", (route) => time(route.latency?.p50), "number"],
    ["p99", (route) => time(route.latency?.["p99"]), "number"],
    ["p99.9", (route) => time(route.latency?.["p99.9"]), "number"],
  ], "none");
  const retried = new Map((figures?.upstreams ?? []).map((upstream) => [upstream.name, upstream]));
  const endpoints = live.upstreams.flatMap((upstream) => upstream.endpoints.map((endpoint) => ({ upstream, endpoint })));
  table("upstreams", endpoints, [
    ["upstream", ({ upstream }) => upstream.name],
    ["endpoint", ({ endpoint }) => endpoint.name],
    ["state", ({ endpoint }) => (endpoint.available ? "in use" : [endpoint.unavailable_because.join(", "), "bad"])],
    ["breaker", ({ upstream, endpoint }) => breaker([endpoint.breaker, upstream.breaker])],
    ["retries/s", ({ upstream }) => number(retried.get(upstream.name)?.retries), "number"],
    ["no budget/s", ({ upstream }) => number(retried.get(upstream.name)?.out_of_budget), "number"],
    ["weight", ({ endpoint }) => number(endpoint.weight), "number"],
    ["connections", ({ endpoint }) => number(endpoint.connections), "number"],
    ["idle", ({ endpoint }) => number(endpoint.idle), "number"],
    ["failures", ({ endpoint }) => number(endpoint.failures), "number"],
  ], "none");
  table("plans", [...live.plans].reverse(), [
    ["plan", (note) => `${note.epoch}${note.runs ? " (runs)" : ""}`],
    ["since", (note) => new Date(note.since * 1000).toLocaleString()],
    ["what changed", (note) => note.changes, "wide"],
  ], "none");
  byId("main").hidden = false;
  complain(live.no_figures);
}

function complain(text) {
  byId("problem").textContent = text ?? "";
  byId("problem").hidden = !text;
}

async function look() {
  clearTimeout(timer);
  try {
    const headers = token ? { Authorization: `Bearer ${token}` } : {};
    const answer = await fetch("v1/live", { headers, cache: "no-store" });
    const body = await answer.json();
    byId("login").hidden = answer.status !== 401;
    if (answer.status === 401) {
      byId("main").hidden = true;
      byId("summary").textContent = "a token is wanted";
      complain(token ? "that token is wrong" : null);
      return;
    }
    if (answer.ok) show(body);
    else complain(body.detail);
  } catch {
    byId("summary").textContent = "the gateway does not answer";
  }
  if (!paused) timer = setTimeout(look, EVERY_MS);
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  token = byId("token").value;
  sessionStorage.setItem("token", token);
  look();
});

byId("pause").addEventListener("click", () => {
  paused = !paused;
  byId("pause").setAttribute("aria-pressed", String(paused));
  byId("pause").textContent = paused ? "Go on" : "Pause";
  if (paused) clearTimeout(timer);
  else look();
});

look();
