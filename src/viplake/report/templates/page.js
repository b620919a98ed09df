// Draws the figures of the page and their tables from the payload; see payload.py for its form.
"use strict";
(async () => {
  async function unpacked(id) {
    const text = atob(document.getElementById(id).textContent.trim());
    const bytes = new Uint8Array(text.length);
    for (let at = 0; at < text.length; at += 1) bytes[at] = text.charCodeAt(at);
    return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
  }
  if (typeof DecompressionStream === "undefined") {
    document.getElementById("too-old").hidden = false;
    return;
  }
  const [bundle, packed] = await Promise.all([unpacked("bundle"), unpacked("payload")]);
  const plotly = document.createElement("script");
  plotly.textContent = bundle;
  document.head.append(plotly);
  const payload = JSON.parse(packed);
  const HOUR = 3600000;
  const PAGE = 50;
  const PAPER = 690; // pixels between the margins of A4 and of Letter; a figure as wide as the screen loses its newest days
  const FACTS = { jobDelivered: "delivered", missingTables: "tables missing", missingTablesList: "missing tables", init: "trigger (init)" };
  const TYPES = { i1: Int8Array, i2: Int16Array, i4: Int32Array, f4: Float32Array, f8: Float64Array };
  const wide = () => document.documentElement.clientWidth > 640;
  const darkScheme = matchMedia("(prefers-color-scheme: dark)");
  let printing = false;

  // -- unpacking -----------------------------------------------------------------------------------------

  function numbers(packed) {
    const bytes = Uint8Array.from(atob(packed.bdata), (c) => c.charCodeAt(0));
    const typed = new TYPES[packed.dtype](bytes.buffer);
    return packed.scale ? Float64Array.from(typed, (v) => (v < 0 ? NaN : v * packed.scale)) : typed;
  }

  function values(packed) {
    if (packed.words) return Array.from(numbers(packed.codes), (code) => (code < 0 ? null : packed.words[code]));
    if (packed.count !== undefined) {
      return Float64Array.from({ length: packed.count }, (_, i) => (packed.start + i) * packed.unit);
    }
    return packed.units ? Float64Array.from(numbers(packed.units), (v) => v * packed.unit) : numbers(packed);
  }

  function recoloured(value) {
    if (typeof value === "string") return payload.dark[value] ?? value;
    if (Array.isArray(value)) return value.map(recoloured);
    if (value === null || typeof value !== "object" || ArrayBuffer.isView(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, recoloured(inner)]));
  }

  // -- words ---------------------------------------------------------------------------------------------

  const pad = (value) => String(value).padStart(2, "0");
  const day = (ms) => { const d = new Date(ms); return `${d.getUTCFullYear()}${pad(d.getUTCMonth() + 1)}${pad(d.getUTCDate())}`; };
  const label = (ms, kind) => (kind === "day" ? day(ms) : `${day(ms)}-${pad(new Date(ms).getUTCHours())}`);
  const spoken = (ms, kind) => new Date(ms).toISOString().slice(0, kind === "day" ? 10 : 13);
  const absent = (value) => value === null || value === undefined || Number.isNaN(value);
  const grouped = (value) => value.toLocaleString("en-GB", { maximumFractionDigits: 4 });
  // Plotly reads a few HTML tags and entities in its texts.
  const inert = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  function parseHour(text) {
    const match = /^(\d{4})-?(\d{2})-?(\d{2})[T -](\d{2})(:00)?$/.exec(text.trim());
    if (!match) return null;
    const ms = Date.UTC(+match[1], +match[2] - 1, +match[3], +match[4]);
    return label(ms, "hour") === `${match[1]}${match[2]}${match[3]}-${match[4]}` ? ms : null;
  }

  function element(name, attributes, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes || {})) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // -- a chart: its figure and its table --------------------------------------------------------------------

  class Chart {
    constructor(packed) {
      this.name = packed.name;
      this.article = document.querySelector(`article[data-chart="${packed.name}"]`);
      this.plot = this.article.querySelector(".plot");
      this.packed = packed;
      this.choice = this.article.querySelector("select.choice");
    }

    get figure() { return this.packed.figure; }
    // Unpacked when first needed, and kept.
    get columns() {
      return (this.unpackedColumns ??= this.packed.columns.map((c) => ({ ...c, values: values(c.values) })));
    }
    get kind() { return this.packed.columns[0].kind; }

    // The rows that hold anything, oldest first.
    get rows() {
      if (!this.filled) {
        this.filled = [];
        const [first, ...others] = this.columns;
        for (let row = 0; row < first.values.length; row += 1) {
          if (others.some((column) => !absent(column.values[row]))) this.filled.push(row);
        }
      }
      return this.filled;
    }

    layout() {
      const layout = { ...this.figure.layout, autosize: !printing };
      if (printing) {
        const parts = Object.keys(layout).filter((key) => key.startsWith("yaxis")).length;
        layout.width = PAPER;
        layout.height = Math.min(layout.height, 200 + 60 * parts + 10 * (this.figure.data[0]?.z?.length ?? 0)); // three a page
      }
      delete layout.title;
      const top = layout.margin.t - 32; // the title is above it, in the page
      if (!wide()) layout.xaxis = { ...layout.xaxis, nticks: 4, tickangle: 0 };
      layout.margin = wide() ? { l: 64, r: 16, t: top, b: 48 } : { l: 44, r: 8, t: top, b: 44 };
      let range = view.range ?? (this.name === "outcomes-calendar" ? null : whole);
      if (range && this.kind === "day") range = [range[0], Math.ceil(range[1] / (24 * HOUR)) * 24 * HOUR];
      layout.xaxis = { ...layout.xaxis, ...(range ? { range, autorange: false } : { autorange: true }) };
      if (view.hour !== null && this.kind === "hour" && this.name !== "outcomes-calendar") {
        const mark = { type: "line", xref: "x", x0: view.hour, x1: view.hour, yref: "paper", y0: 0, y1: 1 };
        layout.shapes = [...(layout.shapes || []), { ...mark, line: { color: payload.ink, width: 1.5, dash: "dot" } }];
      }
      return layout;
    }

    data() {
      return this.figure.data;
    }

    draw(dark = darkScheme.matches) {
      let shown = { data: this.data(), layout: this.layout() };
      if (this.choice) this.choose(shown);
      if (dark) shown = recoloured(shown);
      const config = {
        displaylogo: false, responsive: true, displayModeBar: false, showSendToCloud: false,
      };
      return Plotly.react(this.plot, shown.data, shown.layout, config).then(() => {
        if (this.wired) return;
        this.wired = true;
        this.plot.on("plotly_click", (event) => this.open(event.points[0]));
      });
    }

    // A click opens the Hour of the point; of a day the first Hour without an export, or its first.
    open(point) {
      if (!point) return;
      const written = point.data.base?.[point.pointIndex] ?? point.x;
      let ms = typeof written === "number" ? written : Date.parse(`${String(written).replace(" ", "T").padEnd(11, "T00:00")}Z`);
      if (this.name === "outcomes-calendar") ms = Date.parse(`${String(point.x).slice(0, 10)}T${String(point.y).slice(0, 2)}:00Z`);
      if (this.kind === "day") ms = worstOf(ms - (ms % (24 * HOUR)));
      if (!Number.isNaN(ms)) location.hash = `hour=${label(ms - (ms % HOUR), "hour")}`;
    }

    choose(shown) {
      const column = this.columns.find((c) => c.name === this.choice.value);
      if (!column || !shown.data.length) return;
      const { x0, dx, ...first } = shown.data[0];
      shown.data = [{ ...first, x: this.columns[0].values, y: column.values }];
      const yaxis = shown.layout.yaxis;
      shown.layout.yaxis = { ...yaxis, title: { ...yaxis.title, text: `bytes of ${inert(column.name)}` } };
      this.article.querySelector(".summary").textContent = this.described(column);
    }

    described(column) {
      const present = Array.from(column.values).filter((value) => !absent(value));
      const delivered = `${column.name}: delivered in ${grouped(present.length)} of ${grouped(column.values.length)} Hours`;
      if (!present.length) return `${delivered}.`;
      const [low, high] = present.reduce(([l, h], v) => [Math.min(l, v), Math.max(h, v)], [Infinity, -Infinity]);
      return `${delivered}; newest ${grouped(present.at(-1))} bytes, between ${grouped(low)} and ${grouped(high)}.`;
    }

    // The table, newest rows first, a page at a time: some thousand rows are no use to anybody at once.
    tabulate(start = 0) {
      const rows = [...this.rows].reverse();
      const shown = rows.slice(start, start + PAGE);
      const last = start + shown.length;
      const head = this.columns.map((c) => element("th", { scope: "col", ...(c.kind === "number" ? { class: "number-cell" } : {}) }, c.name));
      const body = shown.map((row) => element("tr", {}, ...this.columns.map((column, i) => this.cell(column, row, i))));
      const title = this.article.querySelector("h3").textContent.trim();
      const table = element("table", {}, element("caption", {}, `${title}: rows ${grouped(rows.length ? start + 1 : 0)} to ${grouped(last)} of ${grouped(rows.length)}, newest first`),
        element("thead", {}, element("tr", {}, ...head)), element("tbody", {}, ...body));
      const newer = element("button", { type: "button", "data-page": "newer" }, "Newer");
      const older = element("button", { type: "button", "data-page": "older" }, "Older");
      newer.disabled = start === 0;
      older.disabled = last >= rows.length;
      const turn = (to, which) => {
        this.tabulate(to);
        const [same, other] = which === "newer" ? ["newer", "older"] : ["older", "newer"];
        const button = (name) => this.article.querySelector(`[data-page="${name}"]`);
        (button(same).disabled ? button(other) : button(same)).focus();
      };
      newer.addEventListener("click", () => turn(Math.max(0, start - PAGE), "newer"));
      older.addEventListener("click", () => turn(start + PAGE, "older"));
      const scroll = element("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": `Table: ${title}` }, table);
      this.article.querySelector(".rows").replaceChildren(scroll, element("div", { class: "pager" }, newer, older));
    }

    cell(column, row, place) {
      const value = column.values[row];
      if (place === 0) return element("th", { scope: "row" }, spoken(value, column.kind));
      if (absent(value)) return element("td", column.kind === "number" ? { class: "number-cell" } : {}, "–");
      if (column.kind === "number") return element("td", { class: "number-cell" }, grouped(value));
      return element("td", value.length > 40 ? { class: "long" } : {}, value);
    }

    csv() {
      const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
      // A text that a spreadsheet would take for a formula is made plain by a quote before it (OWASP, CSV injection).
      const safe = (text) => quoted(/^[=+\-@\t\r]/.test(text) ? `'${text}` : text);
      const written = (column, row) => {
        const value = column.values[row];
        if (column === this.columns[0]) return label(value, column.kind);
        if (absent(value)) return "";
        return column.kind === "number" ? String(value) : safe(value);
      };
      const lines = this.rows.map((row) => this.columns.map((column) => written(column, row)).join(","));
      return `${[this.columns.map((c) => safe(c.name)).join(","), ...lines].join("\r\n")}\r\n`;
    }

    download() {
      const url = URL.createObjectURL(new Blob([this.csv()], { type: "text/csv;charset=utf-8" }));
      const link = element("a", { href: url, download: `viplake-${this.name}.csv` });
      document.body.append(link);
      link.click();
      link.remove();
      setTimeout(() => URL.revokeObjectURL(url), 10000);
    }

    picture() {
      return Plotly.downloadImage(this.plot, { format: "png", filename: `viplake-${this.name}`, width: 1200, height: this.figure.layout.height, scale: 2 });
    }

    // The incidents that an Hour is in.
    incidents(hour) {
      const column = (name) => this.columns.find((c) => c.name === name).values;
      const [first, until, rule, state, summary] = [this.columns[0].values, ...["until", "rule", "state", "summary"].map(column)];
      const inside = [...first.keys()].filter((row) => first[row] <= hour && hour <= parseHour(until[row]));
      return inside.map((row, place) => [`incident${place ? ` ${place + 1}` : ""}`, `${rule[row].replace(/_/g, " ")} (${state[row]}): ${summary[row] ?? ""}`]);
    }

    // What the table says of one Hour.
    facts(hour) {
      if (this.name === "incidents") return this.incidents(hour);
      if (this.kind !== "hour" || this.columns.length > 8) return [];
      const row = this.columns[0].values.indexOf(hour);
      if (row < 0) return [];
      const tables = this.name === "table-completeness-hourly";
      const shown = (c) => c.name !== "SLA" && (c.name !== "expected" || tables) && !absent(c.values[row]);
      return this.columns.slice(1).filter(shown).map((c) => {
        const value = c.values[row];
        const name = tables ? `tables ${c.name}` : FACTS[c.name] ?? c.name;
        if (c.name === "jobDelivered") return [name, value ? "yes" : "no"];
        return [name, c.kind === "number" ? `${grouped(value)} ${c.unit}`.trim() : value];
      });
    }
  }

  // -- the outcome of an Hour ------------------------------------------------------------------------------

  const outcomes = () => charts.find((c) => c.name === "outcomes-calendar");

  function outcomeAt(ms) {
    const [times, outcome] = outcomes()?.columns ?? [];
    if (!times || !times.values.length) return null;
    return outcome.values[Math.round((ms - times.values[0]) / HOUR)] ?? null;
  }

  function worstOf(day) {
    for (const bad of ["missing", "failed", "tables missing", "waiting"]) {
      for (let hour = 0; hour < 24; hour += 1) if (outcomeAt(day + hour * HOUR) === bad) return day + hour * HOUR;
    }
    return day;
  }

  // The next command for an Hour.
  function commandFor(ms) {
    const hour = spoken(ms, "hour");
    const outcome = outcomeAt(ms);
    if (outcome === "tables missing") return `viplake evidence --from ${hour} --to ${hour}`;
    if (outcome === "failed" || outcome === "missing") return `viplake collect ${hour}`;
    return outcome === null ? `viplake observe --from ${hour} --to ${hour}` : `viplake verify --from ${hour} --to ${hour}`;
  }

  async function copy(text, button) {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      const field = element("textarea", {}, text);
      document.body.append(field);
      field.select();
      document.execCommand("copy");
      field.remove();
    }
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 2000);
  }

  // -- what is looked at -----------------------------------------------------------------------------------

  const view = { range: null, hour: null };
  const charts = payload.charts.map((packed) => new Chart(packed));
  const end = payload.end * HOUR;
  const whole = [payload.start * HOUR, end];
  const redraw = async (dark) => { for (const chart of charts) if (chart.plot.data) await chart.draw(dark); };

  function press(days) {
    for (const button of document.querySelectorAll("[data-days]")) {
      button.setAttribute("aria-pressed", String(Number(button.dataset.days) === days));
    }
  }

  function zoom(days) {
    view.range = days ? [end - days * 24 * HOUR, end + HOUR] : null;
    press(days);
    return redraw();
  }

  // What an Hour delivered: its files by name where the page has them, else its tables; with the folder.
  function showDelivered(hour) {
    const chart = charts.find((c) => c.name === "table-volume");
    const [times, ...sizes] = chart?.columns ?? [];
    const row = times ? times.values.indexOf(hour) : -1;
    const tables = row < 0 ? [] : sizes.filter((c) => !absent(c.values[row]));
    const names = payload.files[label(hour, "hour")] ?? [];
    const details = document.getElementById("hour-delivered");
    details.hidden = !tables.length && !names.length;
    const what = names.length ? `${grouped(names.length)} files` : `${grouped(tables.length)} tables`;
    details.querySelector("summary").textContent = `${what} in ${payload.hourly}${label(hour, "hour").replace("-", "/")}/`;
    const cells = names.length ? names.map((name) => [name]) : tables.map((c) => [c.name, `${grouped(c.values[row])} bytes`]);
    const rows = cells.map(([name, ...more]) => element("tr", {}, element("th", { scope: "row" }, name), ...more.map((cell) => element("td", { class: "number-cell" }, cell))));
    details.querySelector("tbody").replaceChildren(...rows);
  }

  function showHour(hour) {
    const panel = document.getElementById("one-hour");
    view.hour = hour;
    panel.hidden = hour === null;
    if (hour !== null) {
      document.getElementById("one-hour-heading").textContent = `Hour ${spoken(hour, "hour")}`;
      document.getElementById("hour").value = spoken(hour, "hour");
      const facts = new Map(charts.flatMap((chart) => chart.facts(hour)));
      const guid = payload.guids[label(hour, "hour")];
      if (guid) facts.set("job GUID", guid);
      const first = ["outcome", "cause", "owner", "job GUID"];
      const place = (name) => (first.includes(name) ? first.indexOf(name) : first.length);
      const parts = [...facts].sort(([a], [b]) => place(a) - place(b)).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
      const none = [element("dt", {}, "Nothing"), element("dd", {}, "No dataset has a row of this Hour.")];
      document.getElementById("hour-facts").replaceChildren(...(parts.length ? parts : none));
      showDelivered(hour);
      document.getElementById("hour-command").textContent = commandFor(hour);
      view.range = [hour - 36 * HOUR, hour + 37 * HOUR];
      press(-1);
      panel.focus({ preventScroll: true });
      panel.scrollIntoView();
    }
    return redraw();
  }

  async function follow() {
    let target;
    try { target = decodeURIComponent(location.hash.slice(1)); } catch { return; }
    if (target.startsWith("hour=")) {
      const hour = parseHour(target.slice(5));
      if (hour !== null) await showHour(hour);
    } else if (target.startsWith("table=")) {
      const chart = charts.find((c) => c.choice);
      const option = chart && [...chart.choice.options].find((o) => o.value === target.slice(6));
      if (!option) return;
      chart.choice.value = option.value;
      await chart.draw();
      reach(chart.article);
    } else {
      const article = charts.map((c) => c.article).find((a) => a.id === target);
      if (article) reach(article);
    }
  }

  function reach(article) {
    for (const other of document.querySelectorAll("article.reached")) other.classList.remove("reached");
    article.classList.add("reached");
    article.focus({ preventScroll: true });
    article.scrollIntoView();
  }

  // -- wiring ----------------------------------------------------------------------------------------------

  for (const chart of charts) {
    chart.plot.style.minHeight = `${chart.plot.dataset.height}px`;
    chart.article.querySelector("details").addEventListener("toggle", (event) => {
      if (event.target.open && !chart.article.querySelector("table")) chart.tabulate();
    });
    chart.article.querySelector(".download").addEventListener("click", () => chart.download());
    chart.article.querySelector(".picture").addEventListener("click", () => chart.picture());
    chart.choice?.addEventListener("change", () => { location.hash = `table=${encodeURIComponent(chart.choice.value)}`; });
  }
  for (const button of document.querySelectorAll("[data-days]")) {
    button.addEventListener("click", () => zoom(Number(button.dataset.days)));
  }
  for (const button of document.querySelectorAll("[data-step]")) {
    button.addEventListener("click", () => { location.hash = `hour=${label(view.hour + Number(button.dataset.step) * HOUR, "hour")}`; });
  }
  document.querySelector("[data-close]").addEventListener("click", async () => {
    history.replaceState(null, "", "#verdict");
    view.range = null;
    press(0);
    await showHour(null);
    document.getElementById("hour").focus();
  });
  document.getElementById("find-hour").addEventListener("submit", (event) => {
    event.preventDefault();
    const field = document.getElementById("hour");
    field.setCustomValidity(parseHour(field.value) === null ? "There is no such Hour." : "");
    if (field.reportValidity()) location.hash = `hour=${label(parseHour(field.value), "hour")}`;
  });
  document.getElementById("hour").addEventListener("input", (event) => event.target.setCustomValidity(""));
  addEventListener("hashchange", follow);
  darkScheme.addEventListener("change", () => redraw());
  for (const button of document.querySelectorAll("[data-copy]")) {
    button.addEventListener("click", () => copy(button.dataset.copy || document.getElementById("hour-command").textContent, button));
  }
  addEventListener("beforeprint", () => {
    printing = true;
    for (const details of document.querySelectorAll("details.printed")) details.open = true;
    redraw(false);
  });
  addEventListener("afterprint", () => { printing = false; redraw(); });

  // Those in view first: the rest is drawn while the page is read.
  const inView = (chart) => chart.article.getBoundingClientRect().top < innerHeight;
  for (const chart of [...charts.filter(inView), ...charts.filter((c) => !inView(c))]) {
    await chart.draw();
    document.documentElement.dataset.drawn = String(1 + Number(document.documentElement.dataset.drawn ?? 0));
    await new Promise((resume) => setTimeout(resume));
  }
  await follow();
  document.documentElement.dataset.ready = "true";
})();
