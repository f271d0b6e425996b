"use strict";
// The page of one micrograph. Everything it draws is in the element #data; lengths are nm, y points down.
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("data").textContent);
const fields = unpackColumns(data.columns);
const [LEFT, RIGHT, BOTTOM, TOP] = data.view;
const GL = hasWebGL();
const state = { cursor: null, ring: null, size: 0 };

function unpackColumns(columns) {
  const out = {};
  for (const [name, text] of Object.entries(columns.fields)) {
    const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    out[name] = name === "phase" || name === "flags" ? bytes : new Float32Array(bytes.buffer);
  }
  return out;
}

function hasWebGL() {
  try {
    const context = document.createElement("canvas").getContext("webgl");
    return context !== null && !new URLSearchParams(location.search).has("svg");
  } catch {
    return false;
  }
}

function option(select, value, label) {
  const element = document.createElement("option");
  element.value = value;
  element.textContent = label;
  select.append(element);
}

const fixed = (value, digits) => (Number.isFinite(value) ? value.toFixed(digits) : "unknown");
const percent = (value) => (value > 0.995 ? ">99 %" : value < 0.005 ? "<1 %" : (100 * value).toFixed(0) + " %");
const short = (value) => (Math.abs(value) >= 100 ? value.toFixed(0) : String(Number(value.toPrecision(3))));
const scaleOf = (colors) => colors.map((color, i) => [i / (colors.length - 1), color]);

// ---- traces ----------------------------------------------------------------------------------------------------------

function phaseScale() {
  const n = data.phases.length;
  return data.phases.flatMap((phase, i) => [[i / n, phase.color], [(i + 1) / n, phase.color]]);
}

function columnColors(key) {
  if (key === "phase") return { color: Array.from(fields.phase), colorscale: phaseScale(), cmin: -0.5, cmax: data.phases.length - 0.5 };
  const chosen = data.colorings.find((entry) => entry.key === key);
  // What is unknown is drawn grey: plotly leaves out colours that are not numbers.
  return { color: Array.from(fields[key]), colorscale: scaleOf(chosen.colors), cmin: chosen.low, cmax: chosen.high };
}

function columnTrace() {
  return {
    type: GL ? "scattergl" : "scatter", mode: "markers", name: "columns", hoverinfo: "none",
    x: Array.from(fields.x), y: Array.from(fields.y),
    marker: { size: 3, opacity: 0.95, line: { width: 0 }, ...columnColors("phase") },
  };
}

function thicknessRange() {
  const seen = data.surfaces.flatMap((s) => s.thickness).filter(Number.isFinite).sort((a, b) => a - b);
  const high = seen.length ? seen[Math.floor(0.98 * (seen.length - 1))] : 1;
  return [0, Math.max(high, 1)];
}

function broken(surface, x, y) {
  // A gap where the surface leaves the view and comes back.
  const steps = surface.s.slice(1).map((s, i) => Math.hypot(surface.x[i + 1] - surface.x[i], surface.y[i + 1] - surface.y[i]));
  const usual = [...steps].sort((a, b) => a - b)[Math.floor(steps.length / 2)] || 1;
  const xs = [x[0]], ys = [y[0]];
  steps.forEach((step, i) => {
    if (step > 5 * usual) { xs.push(null); ys.push(null); }
    xs.push(x[i + 1]); ys.push(y[i + 1]);
  });
  return { x: xs, y: ys };
}

function surfaceTraces() {
  const type = GL ? "scattergl" : "scatter";
  const [cmin, cmax] = thicknessRange();
  return data.surfaces.flatMap((s) => {
    const reach = s.thickness.map((t, i) => (s.event[i] === 1 ? t : null));
    const end = (axis, step) => axis.map((value, i) => (reach[i] === null ? null : value + reach[i] * step[i]));
    return [
      { type, mode: "lines", hoverinfo: "skip", ...broken(s, end(s.x, s.dx), end(s.y, s.dy)), line: { color: "#ffffff", width: 1.6, dash: "dash" } },
      { type, mode: "lines", hoverinfo: "skip", ...broken(s, s.x, s.y), line: { color: "#ffffff", width: 9 } },
      {
        type, mode: "markers", name: "surface", meta: s.id, hoverinfo: "none", x: s.x, y: s.y,
        marker: { size: 7, color: s.thickness, colorscale: scaleOf(data.ramp), cmin, cmax, line: { width: 0 } },
      },
    ];
  });
}

function dislocationTrace() {
  const d = data.dislocations;
  return {
    type: "scatter", mode: "text", name: "dislocations", hoverinfo: "text", visible: false,
    x: d.map((entry) => entry.x), y: d.map((entry) => entry.y), text: d.map(() => "\u22a5"),
    textfont: { size: 19, color: "#ffffff", family: "DejaVu Sans, system-ui, sans-serif", shadow: "0 0 4px #000, 0 0 2px #000" },
    hovertext: d.map((entry) => `${entry.kind} dislocation ${entry.id}<br>Burgers vector in the image ${fixed(entry.b, 3)} nm at ${fixed(entry.angle, 0)}°`),
    hoverlabel: { bgcolor: "#fff", font: { color: "#1e2a36", size: 13 } },
  };
}

function pictures() {
  const chosen = [byId("base").value, byId("map").value].map((key) => data.layers.find((layer) => layer.key === key));
  // Plotly takes two images in the very same place for one, so each is a hair wider than the one before.
  return chosen.filter(Boolean).map((layer, i) => ({
    source: layer.uri, xref: "x", yref: "y", x: layer.box[0], y: layer.box[1], sizex: layer.box[2] * (1 + 1e-7 * i), sizey: layer.box[3],
    xanchor: "left", yanchor: "top", sizing: "stretch", layer: "below", opacity: layer.role === "map" ? byId("opacity").value / 100 : 1,
  }));
}

// ---- the view --------------------------------------------------------------------------------------------------------

const view = byId("view");
const FIRST_SURFACE = 1;

async function drawView() {
  const axis = { visible: false, showgrid: false, zeroline: false };
  await Plotly.newPlot(view, [columnTrace(), ...surfaceTraces(), dislocationTrace()], {
    margin: { l: 0, r: 0, t: 0, b: 0 }, paper_bgcolor: "#14181c", plot_bgcolor: "#14181c", showlegend: false,
    dragmode: "pan", hovermode: "closest", hoverdistance: 14, images: pictures(),
    xaxis: { ...axis, range: [LEFT, RIGHT] }, yaxis: { ...axis, range: [BOTTOM, TOP], scaleanchor: "x", scaleratio: 1 },
    modebar: { bgcolor: "rgba(20,24,28,.55)", color: "#cfd6dd", activecolor: "#ffffff", orientation: "h" },
  }, {
    // Nothing leaves this page: plotly's own button would upload the micrograph.
    showSendToCloud: false, plotlyServerURL: "", scrollZoom: true, displaylogo: false, responsive: true, displayModeBar: true,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "toImage"],
  });
  view.on("plotly_hover", (event) => pointed(event.points[0]));
  view.on("plotly_unhover", unpointed);
  view.on("plotly_relayouting", drawOver);
  view.on("plotly_afterplot", () => { drawOver(); resizeColumns(); });
  drawOver();
  resizeColumns();
}

function place() {
  // Nanometres to pixels of the stage; the plot has no margins.
  const { xaxis, yaxis } = view._fullLayout;
  const [x0, x1] = xaxis.range, [y0, y1] = yaxis.range;
  const width = view.clientWidth, height = view.clientHeight;
  return { x: (v) => ((v - x0) / (x1 - x0)) * width, y: (v) => ((v - y1) / (y0 - y1)) * height, perNm: width / (x1 - x0), width, height };
}

let resizing = 0;
function resizeColumns() {
  // Dots grow with the zoom, and become rings once the column itself can be seen.
  const spacing = data.spacing * place().perNm;
  const size = Math.min(Math.max(0.5 * spacing, 2.2), 26);
  const open = spacing > 26;
  if (Math.abs(size - state.size) < 0.08 * size) return;
  clearTimeout(resizing);
  resizing = setTimeout(() => {
    state.size = size;
    Plotly.restyle(view, { "marker.size": size, "marker.symbol": open ? "circle-open" : "circle", "marker.line.width": open ? 2.5 : 0 }, [0]);
  }, 120);
}

function svg(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  parent.append(element);
  return element;
}

function drawOver() {
  const over = byId("over"), at = place();
  over.replaceChildren();
  const target = (Math.min(at.width, at.height) * 0.22) / at.perNm, power = 10 ** Math.floor(Math.log10(target));
  const length = [5, 2, 1].find((step) => step * power <= target) * power;
  const y = at.height - 22, width = length * at.perNm;
  svg("rect", { x: 20, y, width, height: 6, fill: "#fff", stroke: "#000", "stroke-width": 1 }, over);
  const label = svg("text", { x: 20 + width / 2, y: y - 8, fill: "#fff", stroke: "#000", "stroke-width": 3, "paint-order": "stroke", "text-anchor": "middle", "font-size": 17, "font-weight": 600, id: "scale" }, over);
  label.textContent = length >= 1 ? `${length} nm` : `${Math.round(length * 1000)} pm`;
  if (state.ring !== null) {
    const r = Math.max(7, 0.36 * data.spacing * at.perNm);
    svg("circle", { cx: at.x(fields.x[state.ring]), cy: at.y(fields.y[state.ring]), r, fill: "none", stroke: "#fff", "stroke-width": 2.5 }, over);
  }
  if (state.cursor !== null) {
    const { surface: s, index: i } = state.cursor;
    const x0 = at.x(s.x[i]), y0 = at.y(s.y[i]);
    const x1 = at.x(s.x[i] + s.thickness[i] * s.dx[i]), y1 = at.y(s.y[i] + s.thickness[i] * s.dy[i]);
    for (const [stroke, w] of [["#000", 6], ["#fff", 3]]) {
      svg("line", { x1: x0, y1: y0, x2: x1, y2: y1, stroke, "stroke-width": w, "stroke-linecap": "round" }, over);
      svg("circle", { cx: x0, cy: y0, r: 8, fill: "none", stroke, "stroke-width": w }, over);
    }
    over.dataset.cursor = `${s.id}:${i}`;
  } else delete over.dataset.cursor;
}

// ---- reading ---------------------------------------------------------------------------------------------------------

function columnText(i) {
  const phase = data.phases.find((entry) => entry.code === fields.phase[i]);
  const flags = Object.entries(data.flags).filter(([bit]) => fields.flags[i] & Number(bit)).map(([, word]) => word);
  const shares = [["R-3m", "p_layered"], ["rocksalt", "p_rocksalt"], ["O1", "p_o1"], ["unresolved", "p_unresolved"]];
  const rows = [
    ["position", `${fixed(fields.x[i], 3)}, ${fixed(fields.y[i], 3)} nm (x, y)`],
    ["its error", `${fixed(fields.sigma_x[i], 1)}, ${fixed(fields.sigma_y[i], 1)} pm`],
    ["probability", shares.filter(([, key]) => fields[key][i] >= 0.005).map(([name, key]) => `${name} ${percent(fields[key][i])}`).join(", ") || "none"],
    ["occupancy", Number.isFinite(fields.occupancy[i]) ? `${fixed(fields.occupancy[i], 2)} ± ${fixed(fields.occupancy_err[i], 2)}` : "not measurable"],
    ["stacking shift", Number.isFinite(fields.shift[i]) ? `± ${fixed(fields.shift[i], 2)} row periods` : "not measurable"],
    ["width (FWHM)", `${fixed(fields.fwhm[i], 0)} pm`],
  ];
  if (fields.spacing && Number.isFinite(fields.spacing[i])) {
    rows.push(["layer spacing", `${fixed(fields.spacing[i], 4)} nm`]);
    rows.push(["strain", `${fixed(fields.strain_cc[i], 1)} % across, ${fixed(fields.strain_ip[i], 1)} % along the layers`]);
  }
  if (Number.isFinite(fields.depth[i])) rows.push(["depth", `${fixed(fields.depth[i], 2)} nm`]);
  const table = rows.map(([name, value]) => `<tr><td>${name}</td><td>${value}</td></tr>`).join("");
  const said = flags.length ? `<tr><td>flags</td><td class="flag">${flags.join(", ")}</td></tr>` : "";
  return `<b><span class="swatch" style="background:${phase.color}"></span> ${phase.label}</b> <span class="soft">column ${fields.id[i]}</span><table>${table}${said}</table>`;
}

function pointRows(s, i) {
  const rows = [["thickness", s.event[i] === 1 ? `${fixed(s.thickness[i], 1)} nm (${fixed(s.lower[i], 1)} to ${fixed(s.upper[i], 1)})` : `at least ${fixed(s.thickness[i], 1)} nm: ${s.reason[i] || "leaves the view"}`]];
  if (s.overlayer[i] > 0) rows.push(["amorphous overlayer", `${fixed(s.overlayer[i], 1)} nm`]);
  for (const [key, name] of [["t_50", "occupancy below 0.5"], ["t_rocksalt", "occupancy below 0.8"], ["t_mix", "return to the bulk"], ["front_width", "front width"], ["available", "view reaches"]]) {
    if (Number.isFinite(s[key][i])) rows.push([name, `${fixed(s[key][i], 1)} nm`]);
  }
  return rows;
}

function pointText(s, i) {
  const table = pointRows(s, i).map(([name, value]) => `<tr><td>${name}</td><td>${value}</td></tr>`).join("");
  return `<b>${s.kind[i] ? s.kind[i] + " " : ""}surface ${s.id}</b> <span class="soft">at ${fixed(s.s[i], 1)} nm</span><table>${table}</table>`;
}

function tip(html, x, y) {
  const box = byId("tip"), at = place();
  box.innerHTML = html;
  box.hidden = false;
  // To the side with more room, so that it does not cover what is pointed at.
  const left = x > at.width / 2 ? x - 22 - box.offsetWidth : x + 22;
  box.style.left = `${Math.max(4, left)}px`;
  box.style.top = `${Math.min(Math.max(4, y - box.offsetHeight / 2), at.height - box.offsetHeight - 4)}px`;
}

function pointed(point) {
  const at = place();
  if (point.data.name === "dislocations") return; // plotly shows its own label
  if (point.curveNumber === 0) {
    state.ring = point.pointIndex ?? point.pointNumber;
    tip(columnText(state.ring), at.x(fields.x[state.ring]), at.y(fields.y[state.ring]));
  } else {
    const surface = data.surfaces.find((s) => s.id === point.data.meta);
    follow(surface, point.pointIndex ?? point.pointNumber);
    tip(pointText(surface, state.cursor.index), at.x(surface.x[state.cursor.index]), at.y(surface.y[state.cursor.index]));
    showInProfile();
  }
  drawOver();
}

function unpointed() {
  state.ring = state.cursor = null;
  byId("tip").hidden = true;
  showInProfile();
  drawOver();
}

function follow(surface, index) {
  state.cursor = { surface, index };
}

// ---- the profile -----------------------------------------------------------------------------------------------------

const axisName = (k) => (k === 0 ? "" : String(k + 1));

function profileTop() {
  const highest = Math.max(...data.surfaces.flatMap((s) => s.thickness).filter(Number.isFinite), 0);
  const ends = data.surfaces.flatMap((s) => s.upper.filter((u, i) => s.event[i] === 1 && Number.isFinite(u))).sort((a, b) => a - b);
  const widest = ends.length ? ends[Math.floor(0.95 * (ends.length - 1))] : 0;
  return Math.max(1.15 * Math.max(highest, Math.min(widest, 1.6 * highest + 1)), 6.5);
}

function profileShapes() {
  const top = profileTop();
  const shapes = data.bounds.filter((bound) => bound < top).map((bound) => ({ type: "line", xref: "paper", x0: 0, x1: 1, y0: bound, y1: bound, line: { color: "#8a96a1", width: 1, dash: "dash" }, layer: "below" }));
  if (state.cursor !== null) {
    const k = data.surfaces.indexOf(state.cursor.surface), s = state.cursor.surface.s[state.cursor.index];
    shapes.push({ type: "line", xref: `x${axisName(k)}`, yref: "paper", x0: s, x1: s, y0: 0, y1: 1, line: { color: "#1e2a36", width: 1.5 } });
  }
  return shapes;
}

function profileTraces() {
  const [cmin, cmax] = thicknessRange(), top = profileTop();
  return data.surfaces.flatMap((s, k) => {
    const seen = s.event.map((event) => event === 1), where = { xaxis: `x${axisName(k)}`, yaxis: "y", showlegend: false };
    const error = s.thickness.map((t, i) => (seen[i] ? Math.max(0, Math.min(s.upper[i] ?? t, top) - t) : 0));
    const errorDown = s.thickness.map((t, i) => (seen[i] ? Math.max(0, t - (s.lower[i] ?? t)) : 0));
    const text = s.s.map((_, i) => pointRows(s, i).map(([name, value]) => `${name}: ${value}`).join("<br>"));
    return [
      { ...where, type: "scatter", mode: "lines", hoverinfo: "skip", x: s.s, y: s.thickness, line: { color: "#9aa6b1", width: 1 } },
      {
        ...where, type: "scatter", mode: "markers", meta: s.id, x: s.s, y: s.thickness, text, hovertemplate: "%{text}<extra></extra>",
        error_y: { type: "data", array: error, arrayminus: errorDown, symmetric: false, thickness: 1.2, width: 0, color: "rgba(90,105,120,.35)" },
        marker: { size: seen.map((is) => (is ? 6 : 8)), symbol: seen.map((is) => (is ? "circle" : "triangle-up-open")), color: s.thickness, colorscale: scaleOf(data.ramp), cmin, cmax, line: { width: seen.map((is) => (is ? 0.6 : 1.6)), color: seen.map((is) => (is ? "#33404c" : "#33404c")) } },
      },
    ];
  });
}

async function drawProfile() {
  if (!byId("profile")) return;
  const top = profileTop(), gap = data.surfaces.length > 1 ? 0.02 : 0;
  const spans = data.surfaces.map((s) => Math.max(s.s[s.s.length - 1] - s.s[0], 0.5));
  const total = spans.reduce((a, b) => a + b, 0);
  const layout = {
    margin: { l: 58, r: 84, t: 20, b: 50 }, paper_bgcolor: "#fff", plot_bgcolor: "#fff", hovermode: "closest", hoverdistance: 40, dragmode: "pan",
    font: { family: "system-ui, sans-serif", size: 13, color: "#1e2a36" }, shapes: profileShapes(), annotations: [],
    yaxis: { title: { text: "thickness (nm)", standoff: 6 }, range: [0, top], fixedrange: true, gridcolor: "#edf1f4", zeroline: false, linecolor: "#8a96a1" },
    hoverlabel: { bgcolor: "#fff", bordercolor: "#b9c3cc", align: "left", font: { color: "#1e2a36", size: 13 } },
  };
  let start = 0;
  data.surfaces.forEach((s, k) => {
    const width = (1 - gap * (data.surfaces.length - 1)) * (spans[k] / total);
    layout[`xaxis${axisName(k)}`] = {
      domain: [start, Math.min(1, start + width)], range: [s.s[0] - 0.01 * spans[k], s.s[s.s.length - 1] + 0.01 * spans[k]], zeroline: false,
      showgrid: false, linecolor: "#8a96a1", ticks: "outside", title: { text: data.surfaces.length > 1 ? `surface ${s.id}: position (nm)` : "position along the surface (nm)", standoff: 8 },
    };
    start += width + gap;
  });
  const [thin, thick] = data.bounds;
  for (const [low, high, name] of [[0, thin, "thin"], [thin, thick, "intermediate"], [thick, Infinity, "thick"]]) {
    if (low < top) layout.annotations.push({ xref: "paper", x: 1.004, xanchor: "left", y: (low + Math.min(high, top)) / 2, text: name, showarrow: false, font: { size: 12, color: "#5d6b78" } });
  }
  await Plotly.newPlot("profile", profileTraces(), layout, { responsive: true, displayModeBar: false, showSendToCloud: false, plotlyServerURL: "" });
  byId("profile").on("plotly_hover", (event) => {
    const point = event.points[0];
    follow(data.surfaces.find((s) => s.id === point.data.meta), point.pointIndex ?? point.pointNumber);
    drawOver();
  });
  byId("profile").on("plotly_unhover", () => { state.cursor = null; drawOver(); });
}

function showInProfile() {
  if (byId("profile")) Plotly.relayout("profile", { shapes: profileShapes() });
}

// ---- controls --------------------------------------------------------------------------------------------------------

function colorBar(entry) {
  const unit = entry.unit ? ` (${entry.unit})` : "";
  return `<div class="bar">${entry.label}${unit}<div class="ramp" style="background:linear-gradient(to right, ${entry.colors.join(",")})"></div><div class="ends"><span>${short(entry.low)}</span><span>${short((entry.low + entry.high) / 2)}</span><span>${short(entry.high)}</span></div></div>`;
}

function phaseKey() {
  const there = new Set(fields.phase);
  const shown = data.phases.filter((phase) => phase.code > 0 && (there.has(phase.code) || there.size === 0));
  return `<div class="legend">${shown.map((phase) => `<span><span class="swatch" style="background:${phase.color}"></span> ${phase.label}</span>`).join("")}</div>`;
}

function drawKeys() {
  const map = data.layers.find((layer) => layer.key === byId("map").value);
  const coloring = data.colorings.find((entry) => entry.key === byId("coloring").value);
  const columns = byId("columns").checked && fields.x.length > 0;
  byId("mapkey").innerHTML = map === undefined ? "" : map.colors === null ? (columns && !coloring ? "" : phaseKey()) : colorBar(map);
  byId("columnkey").innerHTML = !columns ? "" : coloring ? colorBar(coloring) : phaseKey();
  if (byId("surfacekey")) {
    const [low, high] = thicknessRange();
    byId("surfacekey").innerHTML = byId("surface").checked ? colorBar({ label: "thickness at the surface", unit: "nm", low, high, colors: data.ramp }) : "";
  }
}

function connect() {
  for (const layer of data.layers.filter((entry) => entry.role === "base")) option(byId("base"), layer.key, layer.label);
  option(byId("map"), "", "nothing");
  for (const layer of data.layers.filter((entry) => entry.role === "map")) option(byId("map"), layer.key, layer.label);
  option(byId("coloring"), "phase", "phase");
  for (const entry of data.colorings) option(byId("coloring"), entry.key, entry.label);
  const pick = () => { Plotly.relayout(view, { images: pictures() }); drawKeys(); };
  byId("base").onchange = byId("map").onchange = byId("opacity").oninput = pick;
  byId("columns").onchange = () => { Plotly.restyle(view, { visible: byId("columns").checked }, [0]); drawKeys(); };
  byId("coloring").onchange = () => {
    const chosen = columnColors(byId("coloring").value);
    Plotly.restyle(view, { "marker.color": [chosen.color], "marker.colorscale": [chosen.colorscale], "marker.cmin": chosen.cmin, "marker.cmax": chosen.cmax }, [0]);
    drawKeys();
  };
  if (byId("surface")) byId("surface").onchange = () => {
    const indices = surfaceTraces().map((_, i) => i + FIRST_SURFACE);
    Plotly.restyle(view, { visible: byId("surface").checked }, indices);
    drawKeys();
  };
}

if (byId("dislocations")) byId("dislocations").onchange = () => {
  Plotly.restyle(view, { visible: byId("dislocations").checked }, [view.data.length - 1]);
};

byId("copy").onclick = async () => {
  const text = `${byId("methods").textContent}\n\n${[...byId("references").children].map((li, i) => `[${i + 1}] ${li.textContent}`).join("\n")}`;
  try { await navigator.clipboard.writeText(text); } catch {
    // A page opened as a file may have no clipboard: select the text instead.
    getSelection().selectAllChildren(byId("methods"));
    document.execCommand("copy");
  }
  byId("copy").textContent = "copied";
};

(async () => {
  try {
    connect();
    await ready;
    await drawView();
    await drawProfile();
    drawKeys();
    document.body.dataset.state = "ready";
  } catch (error) {
    byId("why").textContent = `The interactive view is not available (${error.message}). This is the figure:`;
    byId("figure").src = "overview.png";
    byId("fallback").hidden = false;
    document.body.dataset.state = "failed";
  }
})();
