"use strict";
// The page of a batch: plots, and the table's sorting and filtering.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
// Okabe and Ito: told apart with any colour vision; symbols and dashes tell them apart without colour.
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"];
const SYMBOLS = ["circle", "square", "diamond", "cross", "x", "star", "hexagon"];
const INK = "#1e2a36";
const QUIET = { displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: "", modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"] };

function layout(x, y, more) {
  const axis = { gridcolor: "#edf1f4", linecolor: "#8a96a1", zeroline: false, ticks: "outside", tickcolor: "#8a96a1", automargin: true };
  return {
    margin: { l: 64, r: 18, t: 44, b: 52 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest",
    font: { family: "system-ui, sans-serif", size: 15, color: INK }, hoverlabel: { bgcolor: "#fff", bordercolor: "#b9c3cc", font: { color: INK, size: 13 }, align: "left" },
    xaxis: { ...axis, title: { text: x, standoff: 8 } }, yaxis: { ...axis, title: { text: y, standoff: 8 } },
    legend: { x: 1.02, xanchor: "left", y: 1, yanchor: "top", font: { size: 13 } }, ...more,
  };
}

const percent = (v) => 100 * v;

function groupCurves() {
  return data.cohort.flatMap((group, k) => {
    const color = COLORS[k % COLORS.length], c = group.curve, traces = [];
    if (c.lower && c.upper) {
      traces.push({ x: [...c.depth_nm, ...[...c.depth_nm].reverse()], y: [...c.upper, ...[...c.lower].reverse()].map(percent), fill: "toself", fillcolor: color, opacity: 0.14, mode: "lines", line: { width: 0 }, hoverinfo: "skip", showlegend: false, legendgroup: group.name });
    }
    const near = c.depth_nm.map((d) => d <= c.follow_up_nm), line = { color, width: 2.6 };
    const text = c.depth_nm.map((d, i) => `<b>${group.name}</b><br>${percent(c.beyond[i]).toFixed(0)} % of the surface beyond ${d.toFixed(1)} nm<br>${c.particles_in_view[i]} of ${group.particles.length} particles in view`);
    traces.push({ x: c.depth_nm.filter((_, i) => near[i]), y: c.beyond.filter((_, i) => near[i]).map(percent), text: text.filter((_, i) => near[i]), name: `${group.name.replace(", ", "<br>")} (n = ${group.particles.length})`, mode: "lines", line, hovertemplate: "%{text}<extra></extra>", legendgroup: group.name });
    const last = near.lastIndexOf(true), rest = c.depth_nm.map((_, i) => i >= Math.max(last, 0));
    traces.push({ x: c.depth_nm.filter((_, i) => rest[i]), y: c.beyond.filter((_, i) => rest[i]).map(percent), text: text.filter((_, i) => rest[i]), mode: "lines", line: { ...line, dash: "dot", width: 1.8 }, hovertemplate: "%{text}<extra></extra>", showlegend: false, legendgroup: group.name });
    return traces;
  });
}

function micrographCurves() {
  const classOf = Object.fromEntries(data.micrographs.map((m) => [m.name, m.class]));
  const colors = { thin: COLORS[0], intermediate: COLORS[2], thick: COLORS[1], "": "#7f8a94" };
  const alpha = data.curves.length > 40 ? 0.35 : 0.85, seen = new Set();
  return data.curves.map((curve) => {
    const kind = classOf[curve.name] || "", first = !seen.has(kind);
    seen.add(kind);
    return {
      x: curve.depth, y: curve.beyond.map(percent), name: kind || "no class", legendgroup: kind, showlegend: first, mode: "lines", opacity: alpha,
      line: { shape: "hv", color: colors[kind] || "#7f8a94", width: 2 }, text: curve.depth.map(() => curve.name), hovertemplate: "<b>%{text}</b><br>%{y:.0f} % beyond %{x:.1f} nm<extra></extra>",
    };
  });
}

function particleDots() {
  return data.cohort.flatMap((group, k) => {
    const color = COLORS[k % COLORS.length];
    const dots = group.particles.filter((p) => p.value !== null || p.view !== null).map((p, i) => ({
      // A fixed, quiet scatter to the side, so that equal values do not hide each other.
      x: k - 0.12 + 0.28 * (((i * 0.618) % 1) - 0.5), y: p.value ?? p.view, reached: p.value !== null, text: `<b>${p.name}</b> (${group.name})<br>${p.value !== null ? `median ${p.value.toFixed(1)} nm` : `median deeper than the view, which ends at ${p.view.toFixed(1)} nm`}<br>${p.images} micrograph${p.images === 1 ? "" : "s"}`,
    }));
    const particles = {
      x: dots.map((d) => d.x), y: dots.map((d) => d.y), text: dots.map((d) => d.text), mode: "markers", showlegend: false, hovertemplate: "%{text}<extra></extra>",
      marker: { size: 10, color, opacity: 0.75, symbol: dots.map((d) => (d.reached ? SYMBOLS[k % SYMBOLS.length] : "triangle-up-open")), line: { color: "#fff", width: dots.map((d) => (d.reached ? 1 : 2.5)) } },
    };
    return group.median === null ? [particles] : [particles, groupMedian(group, k, color)];
  });
}

// The estimate of a group with its interval; an open end is drawn out of the plot.
function groupMedian(group, k, color) {
  const m = group.median, beyond = m.bound === "beyond_view", value = m.estimate ?? (beyond ? m.lower : m.upper), far = 1e3;
  const told = m.estimate === null ? `${beyond ? "more" : "less"} than ${value === null ? "what is in view" : `${value.toFixed(1)} nm`}` : `${value.toFixed(1)} nm [${m.lower === null ? "open" : m.lower.toFixed(1)} to ${m.upper === null ? "open" : m.upper.toFixed(1)}]`;
  const known = m.lower !== null || m.upper !== null;
  return {
    x: [k + 0.24], y: [value], text: [`<b>${group.name}</b><br>median ${told}<br>${m.counts.particles} particles, ${m.counts.images} images, ${m.counts.points} points`], mode: "markers", showlegend: false, hovertemplate: "%{text}<extra></extra>",
    error_y: { type: "data", symmetric: false, array: [known ? (m.upper ?? far) - value : 0], arrayminus: [known ? value - (m.lower ?? 0) : 0], width: 5, thickness: 2.2, color },
    marker: { size: 13, symbol: beyond ? "triangle-up" : "diamond", color, line: { color: INK, width: 1.2 } },
  };
}

function micrographDots() {
  const sorted = [...data.micrographs].sort((a, b) => a.value - b.value);
  return [{
    x: sorted.map((_, i) => i + 1), y: sorted.map((m) => m.value), mode: "markers", showlegend: false, customdata: sorted.map((m) => m.link),
    text: sorted.map((m) => `<b>${m.name}</b><br>${m.seen ? "" : "at least "}${m.value.toFixed(1)} nm${m.low !== null && m.high !== null ? ` [${m.low.toFixed(1)} to ${m.high.toFixed(1)}]` : ""}`), hovertemplate: "%{text}<extra></extra>",
    error_y: { type: "data", symmetric: false, array: sorted.map((m) => Math.max(0, (m.high ?? m.value) - m.value)), arrayminus: sorted.map((m) => Math.max(0, m.value - (m.low ?? m.value))), width: 0, thickness: sorted.length > 80 ? 1.5 : 4, color: "rgba(0,114,178,.3)" },
    marker: { size: sorted.length > 80 ? 6 : 10, color: COLORS[0], symbol: sorted.map((m) => (m.seen ? "circle" : "triangle-up-open")), line: { width: sorted.map((m) => (m.seen ? 0 : 2)) } },
  }];
}

function bounds(direction) {
  const [from, to] = direction === "x" ? ["y", "x"] : ["x", "y"];
  return [5, 20].map((value) => ({ type: "line", [`${from}ref`]: "paper", [`${from}0`]: 0, [`${from}1`]: 1, [`${to}0`]: value, [`${to}1`]: value, line: { color: "#8a96a1", width: 1, dash: "dash" }, layer: "below" }));
}

function deepest() {
  const ends = data.cohort ? data.cohort.map((g) => Math.max(...g.curve.depth_nm)) : data.curves.map((c) => c.depth[c.depth.length - 1]);
  return Math.max(6.5, ...ends) * 1.03;
}

async function drawPlots() {
  if (!byId("curves")) return;
  await ready;
  const curves = data.cohort ? groupCurves() : micrographCurves();
  const shared = layout("depth below the surface (nm)", "surface with a deeper layer (%)", { shapes: bounds("x") });
  shared.xaxis.range = [0, deepest()];
  shared.yaxis.range = [0, 102];
  await Plotly.newPlot("curves", curves, shared, QUIET);
  const dots = layout(data.cohort ? "" : "micrographs, by thickness", "thickness (nm)", { shapes: bounds("y") });
  dots.yaxis.rangemode = "tozero";
  if (data.cohort) {
    dots.xaxis = { ...dots.xaxis, tickvals: data.cohort.map((_, k) => k), ticktext: data.cohort.map((g) => g.name.replace(", ", "<br>")), range: [-0.6, data.cohort.length - 0.4], showgrid: false };
  } else dots.xaxis = { ...dots.xaxis, showgrid: false, tickformat: "d", ...(data.micrographs.length < 12 ? { dtick: 1 } : {}) };
  const values = data.cohort ? data.cohort.flatMap((g) => [...g.particles.map((p) => p.value ?? p.view), g.median?.estimate ?? null]) : data.micrographs.map((m) => m.high ?? m.value);
  // Bounds of the classes far above everything would squeeze the dots to a line.
  dots.yaxis.range = [0, 1.1 * Math.max(6, ...values.filter((v) => v !== null && Number.isFinite(v)))];
  await Plotly.newPlot("dots", data.cohort ? particleDots() : micrographDots(), dots, QUIET);
  if (!data.cohort) byId("dots").on("plotly_click", (event) => { location.href = event.points[0].customdata; });
}

function sortBy(header) {
  const table = byId("micrographs"), index = [...header.parentNode.children].indexOf(header), numeric = header.dataset.sort === "number";
  const down = header.getAttribute("aria-sort") === "ascending" || (numeric && !header.hasAttribute("aria-sort"));
  for (const other of header.parentNode.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => row.children[index].dataset.value ?? "";
  const rows = [...table.tBodies[0].rows].sort((a, b) => {
    const [x, y] = [key(a), key(b)];
    if ((x === "") !== (y === "")) return x === "" ? 1 : -1; // what is unknown comes last, whichever way
    const order = numeric ? Number(x) - Number(y) : x.localeCompare(y, undefined, { numeric: true });
    return down ? -order : order;
  });
  table.tBodies[0].append(...rows);
}

function filter() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean), kind = byId("class")?.value ?? "";
  let shown = 0;
  for (const row of byId("micrographs").tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !(words.every((word) => text.includes(word)) && (kind === "" || row.dataset.class === kind));
    shown += row.hidden ? 0 : 1;
  }
  byId("shown").textContent = `${shown} shown`;
}

if (byId("micrographs")) {
  for (const header of byId("micrographs").querySelectorAll("th[data-sort]")) header.onclick = () => sortBy(header);
  byId("search").oninput = filter;
  if (byId("class")) byId("class").onchange = filter;
}
drawPlots().then(
  () => { document.body.dataset.state = "ready"; },
  (error) => { document.body.dataset.state = "failed"; for (const id of ["curves", "dots"]) byId(id).textContent = `The plot is not available (${error.message}).`; },
);
