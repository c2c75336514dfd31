// What all pages do: theme, glossary, tables that sort, filter and copy, figures that draw and export.
"use strict";
(() => {
  const root = document.documentElement;
  const LIGHT = ["#0072b2", "#c04a00", "#00704f", "#a0358f", "#7a6200", "#1b7fb5", "#5b4fb3", "#8b3a2b"];
  const DARK = ["#6cb8f0", "#ff9a56", "#3fcf9f", "#eb9fdc", "#e6cf5a", "#9adcff", "#b9aeff", "#f0a99a"];
  const SYMBOLS = ["circle", "triangle", "square", "diamond", "star", "cross", "wye"];
  const stored = (name, value) => {
    try {
      if (value === undefined) return localStorage.getItem(name);
      localStorage.setItem(name, value);
    } catch { /* A page from disk may have no storage: the choice lasts as long as the page. */ }
    return null;
  };

  // Theme.
  const system = matchMedia("(prefers-color-scheme: dark)");
  const setTheme = (theme) => { root.dataset.theme = theme; };
  setTheme(stored("saelab-theme") || (system.matches ? "dark" : "light"));
  const isDark = () => root.dataset.theme === "dark";

  // Numbers as the tables show them.
  const number = (value, digits = 3) => (value === null || value === undefined ? "-" : value.toFixed(digits));

  const element = (name, attributes = {}, ...children) => {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  };

  const download = (name, type, content) => {
    const url = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
    const link = element("a", { href: url, download: name });
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(url), 10000);
  };

  // A cell that a spreadsheet would take for a formula is kept as text.
  const csvCell = (value) => {
    let text = value === null || value === undefined ? "" : String(value);
    if (/^[=+@\t\r]/.test(text) || (/^-/.test(text) && !Number.isFinite(Number(text)))) text = `'${text}`;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const csv = (rows) => rows.map((row) => row.map(csvCell).join(",")).join("\n") + "\n";
  const markdown = (rows) => {
    const line = (row) => `| ${row.map((cell) => String(cell ?? "").replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
    return [line(rows[0]), line(rows[0].map(() => "---")), ...rows.slice(1).map(line)].join("\n") + "\n";
  };

  const say = (text) => {
    const live = document.getElementById("live");
    if (live) live.textContent = text;
  };
  const copy = async (text, what) => {
    try {
      await navigator.clipboard.writeText(text);
      say(`${what} copied`);
    } catch {
      const area = element("textarea", { "aria-label": what });
      area.value = text;
      document.body.append(area);
      area.select();
      say(document.execCommand("copy") ? `${what} copied` : `${what} could not be copied`);
      area.remove();
    }
  };

  // Tables.
  const cellValue = (cell) => {
    const data = cell?.querySelector("data");
    return data ? data.value : (cell?.textContent ?? "").trim();
  };
  const compareCells = (a, b) => {
    const [x, y] = [Number(a), Number(b)];
    const [isX, isY] = [a !== "" && Number.isFinite(x), b !== "" && Number.isFinite(y)];
    if (isX && isY) return x - y;
    if (isX !== isY) return isX ? -1 : 1;
    return a.localeCompare(b);
  };
  const rowsOf = (table, all = false) => {
    const rows = [...table.tBodies[0].rows].filter((row) => all || !row.hidden);
    return rows.map((row) => [...row.cells].map(cellValue));
  };
  const headings = (table) => [...table.tHead.rows[table.tHead.rows.length - 1].cells].map((cell) => cell.dataset.name || cell.textContent.trim());

  const setUpTable = (table) => {
    const head = table.tHead?.rows[table.tHead.rows.length - 1];
    if (!head) return;
    [...head.cells].forEach((cell, place) => {
      const button = element("button", { type: "button" });
      button.append(...cell.childNodes);
      button.querySelectorAll("button").forEach((inner) => inner.replaceWith(...inner.childNodes));
      cell.append(button);
      button.addEventListener("click", () => {
        const up = cell.getAttribute("aria-sort") !== "ascending";
        [...head.cells].forEach((other) => other.removeAttribute("aria-sort"));
        cell.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => (up ? 1 : -1) * compareCells(cellValue(a.cells[place]), cellValue(b.cells[place])));
        table.tBodies[0].append(...rows);
      });
    });
    const tools = document.querySelector(`.tools[data-table="${CSS.escape(table.id)}"]`);
    if (!tools) return;
    const filters = [...tools.querySelectorAll("[data-filter]")];
    const refilter = () => {
      let shown = 0;
      for (const row of table.tBodies[0].rows) {
        const fits = (filter) => {
          const kind = filter.dataset.filter;
          if (kind === "text") return row.textContent.toLowerCase().includes(filter.value.trim().toLowerCase());
          if (kind === "real") return !filter.checked || row.dataset.real === "true";
          return filter.value === "" || row.dataset[kind] === filter.value;
        };
        row.hidden = !filters.every(fits);
        if (!row.hidden) shown += 1;
      }
      say(`${shown} rows shown`);
    };
    filters.forEach((filter) => filter.addEventListener("input", refilter));
    // What the page opens with (a metric that is chosen already) holds from the start.
    if (filters.some((filter) => filter.value !== "" && filter.type !== "checkbox")) refilter();
    const all = () => [headings(table), ...rowsOf(table)];
    const act = {
      "copy-csv": () => copy(csv(all()), "CSV"),
      "copy-markdown": () => copy(markdown(all()), "Markdown"),
      "save-csv": () => download(`${table.id}.csv`, "text/csv", csv(all())),
    };
    for (const [name, run] of Object.entries(act)) tools.querySelector(`[data-act="${name}"]`)?.addEventListener("click", run);
  };

  // Figures. Rows of a specification are lists; their order is that of `columns`.
  const read = (figure) => {
    const spec = JSON.parse(figure.querySelector("script.spec").textContent);
    const name = (row) => Object.fromEntries(spec.columns.map((column, place) => [column, row[place]]));
    spec.points = spec.rows.map(name).map((point) => ({ ...point, series: spec.series[point.series] }));
    return spec;
  };
  const chosen = (figure, spec) => {
    const select = figure.querySelector("select");
    const wanted = select ? select.value : null;
    return spec.points.filter((point) => wanted === null || point.filter === null || point.filter === wanted);
  };
  const colours = (spec) => {
    const palette = isDark() ? DARK : LIGHT;
    const of = (list) => spec.series.map((_, place) => list[place % list.length]);
    return { colour: of(palette), symbol: of(SYMBOLS) };
  };
  const short = (text, length = 20) => (text.length > length ? `${text.slice(0, length - 1)}…` : text);

  const marks = {
    // A row for each series, along x the value with its interval.
    whiskers(points, spec, all) {
      // One axis for all small pictures, so that they can be compared.
      const extent = d3.extent(all.flatMap((point) => [point.value, point.low ?? point.value, point.high ?? point.value]));
      if (extent[0] === extent[1]) extent[1] += 1e-3;
      const present = spec.series.filter((series) => points.some((point) => point.series === series && point.kind !== "rule"));
      const seen = new Map();
      const place = (point) => {
        const index = seen.get(point.series) ?? 0;
        seen.set(point.series, index + 1);
        const count = points.filter((other) => other.series === point.series && other.kind !== "rule").length;
        return present.indexOf(point.series) + (count > 1 ? (index / (count - 1) - 0.5) * 0.5 : 0);
      };
      const dots = points.filter((point) => point.kind !== "rule").map((point) => ({ ...point, at: place(point) }));
      const rules = points.filter((point) => point.kind === "rule");
      return {
        options: {
          height: 46 + 22 * present.length,
          marginLeft: 124,
          x: { label: spec.y, domain: spec.domain ?? extent, grid: true, nice: true, ticks: 3 },
          y: { label: null, domain: [present.length - 0.4, -0.6], ticks: present.map((_, index) => index), tickFormat: (index) => short(present[index] ?? "") },
        },
        marks: [
          Plot.ruleX(rules, { x: "value", stroke: "series", strokeDasharray: "5 4" }),
          Plot.ruleY(dots.filter((point) => point.low !== null), { y: "at", x1: "low", x2: "high", stroke: "series", strokeWidth: 1.6 }),
          Plot.dot(dots, { x: "value", y: "at", fill: "series", symbol: "series", r: 3.6, stroke: "none" }),
          Plot.tip(dots, Plot.pointer({ x: "value", y: "at", title: title(spec) })),
        ],
      };
    },
    // Lines over a number; a point without x is a level.
    lines(points, spec) {
      const along = points.filter((point) => point.x !== null);
      const levels = points.filter((point) => point.x === null);
      const whole = along.length > 0 && along.every((point) => Number.isInteger(point.x));
      const values = [...new Set(along.map((point) => point.x))].sort((a, b) => a - b);
      return {
        options: {
          height: 190,
          marginLeft: 44,
          x: { label: spec.x, type: spec.log ? "log" : "linear", ticks: whole && values.length < 7 && !spec.log ? values : 4, tickFormat: spec.log ? "~s" : whole ? "d" : undefined, insetLeft: 6, insetRight: 6 },
          y: { label: spec.y, domain: spec.domain ?? undefined, grid: true, nice: true, ticks: 5 },
        },
        marks: [
          Plot.ruleY(levels, { y: "value", stroke: "series", strokeDasharray: "5 4", strokeWidth: 1.4 }),
          Plot.ruleX(along.filter((point) => point.low !== null), { x: "x", y1: "low", y2: "high", stroke: "series", strokeOpacity: 0.55 }),
          Plot.lineY(along, { x: "x", y: "value", z: "name", stroke: "series", strokeWidth: 1.5 }),
          spec.dense ? null : Plot.dot(along, { x: "x", y: "value", fill: "series", symbol: "series", r: 3 }),
          Plot.tip(points, Plot.pointer({ x: (point) => point.x ?? values[0], y: "value", title: title(spec) })),
        ],
      };
    },
    // One number against another.
    scatter(points, spec) {
      return {
        options: {
          height: 230,
          marginLeft: 44,
          x: { label: spec.x, grid: true, nice: true, ticks: 5 },
          y: { label: spec.y, domain: spec.domain ?? undefined, grid: true, nice: true, ticks: 5 },
        },
        marks: [
          Plot.ruleX(points.filter((point) => point.low !== null), { x: "x", y1: "low", y2: "high", stroke: "series", strokeOpacity: 0.5 }),
          Plot.dot(points, { x: "x", y: "value", fill: "series", symbol: "series", r: 3.6 }),
          Plot.tip(points, Plot.pointer({ x: "x", y: "value", title: title(spec) })),
        ],
      };
    },
    // Bars over places of equal width; x and high are their ends.
    bars(points, spec) {
      return {
        options: { height: 160, marginLeft: 52, x: { label: spec.x, type: spec.log ? "log" : "linear", tickFormat: spec.log ? "~g" : undefined, ticks: 5 }, y: { label: spec.y, grid: true, ticks: 4 } },
        marks: [Plot.rectY(points, { x1: "x", x2: "high", y: "value", fill: "series", insetLeft: 0.5, insetRight: 0.5 }), Plot.ruleY([0])],
      };
    },
  };
  const title = (spec) => (point) => {
    const interval = point.low === null ? "" : ` [${number(point.low)}, ${number(point.high)}]`;
    const x = point.x === null ? "" : `\n${spec.x} ${point.x}`;
    return `${point.name}${x}\n${spec.y} ${number(point.value)}${interval}${point.verdict ? `\n${point.verdict}` : ""}${point.link ? "\nclick: its latents" : ""}`;
  };

  const charts = (figure, spec, width) => {
    const points = chosen(figure, spec);
    const { colour, symbol } = colours(spec);
    const facets = [...new Set(points.map((point) => point.facet))];
    return facets.map((facet) => {
      const { options, marks: drawn } = marks[spec.kind](points.filter((point) => point.facet === facet), spec, points);
      const svg = Plot.plot({
        ...options,
        width,
        marks: drawn,
        color: { domain: spec.series, range: colour },
        symbol: { domain: spec.series, range: symbol },
        style: { background: "none", color: isDark() ? "#e8eaed" : "#16191d", fontSize: "11px", fontFamily: "inherit" },
      });
      svg.setAttribute("aria-hidden", "true");
      // The value of a picture is the point that its tip tells of. A touch shows the tip; the table has the link.
      svg.addEventListener("input", () => { svg.style.cursor = svg.value?.link ? "pointer" : ""; });
      svg.addEventListener("click", (event) => { if (event.pointerType !== "touch" && svg.value?.link) location.href = svg.value.link; });
      return { facet, svg };
    });
  };

  const draw = (figure) => {
    const spec = (figure.saelab ??= read(figure));
    const plot = figure.querySelector(".plot");
    const space = plot.clientWidth || 320;
    // A picture that is alone has all the space.
    const wide = spec.wide || new Set(chosen(figure, spec).map((point) => point.facet)).size === 1;
    plot.classList.toggle("wide", wide);
    const columns = wide ? 1 : Math.max(1, Math.floor((space + 16) / (272 + 16)));
    const width = Math.min(wide ? 640 : 420, (space - 16 * (columns - 1)) / columns);
    plot.replaceChildren(
      ...charts(figure, spec, Math.max(220, Math.floor(width))).map(({ facet, svg }) => {
        const cell = element("div");
        if (facet) cell.append(element("p", { class: "facet" }, element("bdi", {}, facet)));
        cell.append(svg);
        return cell;
      }),
    );
    const legend = figure.querySelector(".legend");
    if (!legend) return;
    const present = new Set(chosen(figure, spec).map((point) => point.series));
    const { colour, symbol } = colours(spec);
    const kinds = { circle: d3.symbolCircle, triangle: d3.symbolTriangle, square: d3.symbolSquare, diamond: d3.symbolDiamond, star: d3.symbolStar, cross: d3.symbolCross, wye: d3.symbolWye };
    const item = (series, place) => {
      const svg = d3.create("svg").attr("viewBox", "-8 -8 16 16").attr("aria-hidden", "true");
      svg.append("path").attr("d", d3.symbol(kinds[symbol[place]], 70)()).attr("fill", colour[place]);
      return element("li", {}, svg.node(), element("bdi", {}, series));
    };
    legend.replaceChildren(...spec.series.flatMap((series, place) => (present.has(series) ? [item(series, place)] : [])));
  };

  // One picture of all charts of a figure, with its legend.
  const picture = (figure) => {
    const spec = figure.saelab ?? read(figure);
    const parts = charts(figure, spec, spec.wide ? 640 : 340);
    const columns = spec.wide ? 1 : Math.min(3, Math.max(1, parts.length));
    const [wide, line] = [spec.wide ? 640 : 340, 18];
    const height = Math.max(...parts.map(({ svg }) => Number(svg.getAttribute("height"))), 0) + line;
    const rows = Math.ceil(parts.length / columns);
    const present = [...new Set(chosen(figure, spec).map((point) => point.series))];
    const { colour, symbol } = colours(spec);
    const ink = isDark() ? "#e8eaed" : "#16191d";
    const full = [columns * wide + 20, rows * height + 30 + line * present.length];
    const out = d3.create("svg").attr("xmlns", "http://www.w3.org/2000/svg").attr("width", full[0]).attr("height", full[1]).attr("viewBox", `0 0 ${full[0]} ${full[1]}`).attr("font-family", "sans-serif").attr("font-size", 12);
    out.append("rect").attr("width", "100%").attr("height", "100%").attr("fill", isDark() ? "#14171a" : "#ffffff");
    parts.forEach(({ facet, svg }, place) => {
      const group = out.append("g").attr("transform", `translate(${10 + (place % columns) * wide},${10 + Math.floor(place / columns) * height})`);
      group.append("text").attr("y", 12).attr("font-weight", 600).attr("fill", ink).text(facet);
      svg.setAttribute("y", line);
      group.node().append(svg);
    });
    const kinds = { circle: d3.symbolCircle, triangle: d3.symbolTriangle, square: d3.symbolSquare, diamond: d3.symbolDiamond, star: d3.symbolStar, cross: d3.symbolCross, wye: d3.symbolWye };
    present.forEach((series, place) => {
      const index = spec.series.indexOf(series);
      const y = rows * height + 20 + line * place;
      out.append("path").attr("transform", `translate(18,${y})`).attr("d", d3.symbol(kinds[symbol[index]], 60)()).attr("fill", colour[index]);
      out.append("text").attr("x", 30).attr("y", y + 4).attr("fill", ink).text(series);
    });
    return { text: new XMLSerializer().serializeToString(out.node()), size: full };
  };

  const savePng = (figure) => {
    const { text, size } = picture(figure);
    const image = new Image();
    image.onload = () => {
      const canvas = element("canvas", { width: 2 * size[0], height: 2 * size[1] });
      const context = canvas.getContext("2d");
      context.scale(2, 2);
      context.drawImage(image, 0, 0);
      canvas.toBlob((blob) => download(`${figure.id}.png`, "image/png", blob), "image/png");
    };
    image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  };

  const setUpFigure = (figure) => {
    const spec = (figure.saelab = read(figure));
    const tools = figure.querySelector(".tools");
    tools.querySelector("select")?.addEventListener("input", () => draw(figure));
    const table = () => {
      const columns = [...spec.columns, ""].slice(0, -1);
      return [columns, ...chosen(figure, spec).map((point) => columns.map((column) => point[column]))];
    };
    const act = {
      "save-csv": () => download(`${figure.id}.csv`, "text/csv", csv(table())),
      "save-svg": () => download(`${figure.id}.svg`, "image/svg+xml", picture(figure).text),
      "save-png": () => savePng(figure),
    };
    for (const [name, run] of Object.entries(act)) tools.querySelector(`[data-act="${name}"]`)?.addEventListener("click", run);
    draw(figure);
  };

  // Glossary: what a term means, where the pointer or the focus is.
  const setUpGlossary = () => {
    const tip = element("div", { id: "tip", role: "tooltip" });
    tip.hidden = true;
    document.body.append(tip);
    const hide = () => { tip.hidden = true; };
    const show = (term) => {
      const meaning = document.getElementById(`term-${term.dataset.term}`);
      if (!meaning) return;
      tip.textContent = meaning.textContent;
      tip.hidden = false;
      const box = term.getBoundingClientRect();
      const left = Math.max(8, Math.min(box.left, innerWidth - tip.offsetWidth - 8));
      tip.style.left = `${left + scrollX}px`;
      tip.style.top = `${box.bottom + 6 + scrollY}px`;
    };
    const termOf = (event) => event.target.closest?.("[data-term]");
    for (const kind of ["mouseover", "focusin", "click"]) document.addEventListener(kind, (event) => (termOf(event) ? show(termOf(event)) : kind === "click" && hide()));
    for (const kind of ["mouseout", "focusout"]) document.addEventListener(kind, (event) => termOf(event) && hide());
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  };

  const redraw = () => document.querySelectorAll("figure[data-figure]").forEach((figure) => figure.saelab && draw(figure));
  window.saelab = { element, number, csv, download, say, setUpFigure, draw };

  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const label = () => { button.textContent = isDark() ? "Light" : "Dark"; };
    label();
    button.addEventListener("click", () => {
      setTheme(isDark() ? "light" : "dark");
      stored("saelab-theme", root.dataset.theme);
      label();
      redraw();
    });
    setUpGlossary();
    document.querySelectorAll("table.sortable").forEach(setUpTable);
    // One figure after the other, so that the page can be read meanwhile.
    const waiting = [...document.querySelectorAll("figure[data-figure]")];
    const next = () => {
      const figure = waiting.shift();
      if (!figure) { root.dataset.drawn = "true"; return; }
      setUpFigure(figure);
      setTimeout(next);
    };
    setTimeout(next);
    let last = innerWidth;
    let timer = 0;
    addEventListener("resize", () => {
      if (innerWidth === last) return;
      last = innerWidth;
      clearTimeout(timer);
      timer = setTimeout(redraw, 150);
    });
  });
})();
