// The page of the latents of a dictionary: a list that searches and sorts, and one latent at a time. Data come as scripts that call
// `saelabIndex` and `saelabChunk` with JSON; all of it is shown as text.
"use strict";
(() => {
  const { element, number, csv, download, say, setUpFigure } = window.saelab;
  const PAGE = 100;
  let index = null;
  let order = [];
  let first = 0;
  let sort = { key: "rate", up: false };
  let opened = null;
  // The latents behind a score, where a link names them.
  let only = null;
  const chunks = new Map();
  const waiting = new Map();

  const load = (file) =>
    new Promise((resolve, reject) => {
      const script = element("script", { src: file });
      script.onload = resolve;
      script.onerror = () => reject(new Error(`${file} cannot be read; make the pages again with saelab report`));
      document.head.append(script);
    });
  const chunk = async (place) => {
    if (!chunks.has(place)) {
      if (!waiting.has(place)) waiting.set(place, load(`${String(place).padStart(5, "0")}.js`));
      await waiting.get(place);
    }
    return chunks.get(place);
  };
  window.saelabChunk = (data) => chunks.set(data.chunk, data);
  window.saelabIndex = (data) => { index = data; };

  const nameOf = (latent) => (index.best[latent] === null ? "" : index.names[index.best[latent]]);
  const value = {
    number: (latent) => latent,
    rate: (latent) => index.rate[latent],
    max: (latent) => index.max[latent],
    f1: (latent) => index.f1[latent] ?? -1,
    best: nameOf,
  };
  const small = (x) => (x === null ? "-" : x === 0 ? "0" : x < 0.001 ? x.toExponential(1) : x.toPrecision(3));

  const field = (id) => document.getElementById(id);
  const filtered = () => {
    const wanted = field("search").value.trim().toLowerCase();
    const limit = (id, none) => (field(id).value === "" ? none : Number(field(id).value));
    const [leastF1, least, most] = [limit("least-f1", -1), limit("least-rate", -1), limit("most-rate", Infinity)];
    const tokens = new Set();
    const names = new Set();
    if (wanted) {
      index.words.forEach((word, place) => word.toLowerCase().includes(wanted) && tokens.add(place));
      index.names.forEach((name, place) => name.toLowerCase().includes(wanted) && names.add(place));
    }
    const fits = (latent) =>
      (!only || only.has(latent)) && (index.f1[latent] ?? -1) >= leastF1 && index.rate[latent] >= least && index.rate[latent] <= most &&
      (!wanted || names.has(index.best[latent]) || index.tokens[latent].some((token) => tokens.has(token)));
    const found = [];
    for (let latent = 0; latent < index.rate.length; latent += 1) if (fits(latent)) found.push(latent);
    const of = value[sort.key];
    const compare = (a, b) => (typeof of(a) === "string" ? of(a).localeCompare(of(b)) : of(a) - of(b));
    return found.sort((a, b) => (sort.up ? 1 : -1) * compare(a, b) || a - b);
  };

  const showList = () => {
    const body = field("list").tBodies[0];
    const rows = order.slice(first, first + PAGE).map((latent) => {
      const link = element("a", { href: `#latent-${latent}` }, String(latent));
      const cells = [link, small(index.rate[latent]), small(index.max[latent]), number(index.f1[latent]), element("bdi", {}, nameOf(latent))];
      const row = element("tr", { "data-latent": latent }, ...cells.map((cell) => element("td", {}, cell)));
      if (latent === opened) row.setAttribute("aria-selected", "true");
      row.addEventListener("click", () => { location.hash = `latent-${latent}`; });
      return row;
    });
    body.replaceChildren(...rows);
    field("shown").textContent = order.length ? `${first + 1} to ${Math.min(order.length, first + PAGE)} of ${order.length}` : "none";
    field("previous").disabled = first === 0;
    field("next").disabled = first + PAGE >= order.length;
    for (const button of field("list").tHead.querySelectorAll("[data-key]")) {
      const cell = button.parentElement;
      if (button.dataset.key === sort.key) cell.setAttribute("aria-sort", sort.up ? "ascending" : "descending");
      else cell.removeAttribute("aria-sort");
    }
  };
  const update = () => {
    order = filtered();
    first = 0;
    showList();
  };

  const contextOf = (data, max) => ([at, focus, tokens, active, window]) => {
    const values = new Map(active);
    const text = element("span", { class: "text" });
    tokens.forEach((token, place) => {
      const here = values.get(place) ?? 0;
      const piece = element("bdi", { title: `${small(here)} · position ${place}` }, data.words[token]);
      if (here > 0) piece.style.background = `rgba(var(--heat), ${(0.12 + 0.6 * Math.min(1, here / max)).toFixed(2)})`;
      if (place === focus) piece.classList.add("focus");
      text.append(piece);
    });
    return element("div", { class: "context", "data-window": window }, element("span", { class: "value" }, small(at)), text);
  };
  const group = (title, note, ...children) => element("section", {}, element("h3", {}, title), ...(note ? [element("p", { class: "soft" }, note)] : []), ...children);
  const table = (headings, rows) =>
    element("table", {},
      element("thead", {}, element("tr", {}, ...headings.map((heading) => element("th", { scope: "col" }, heading)))),
      element("tbody", {}, ...rows.map((row) => element("tr", {}, ...row.map((cell) => element("td", {}, cell))))));
  const link = (latent) => element("a", { href: `#latent-${latent}` }, String(latent));
  const word = (text) => element("bdi", {}, text);

  const histogram = (latent, data) => {
    if (!data.histogram) return null;
    const [start, counts] = data.histogram;
    const edge = (place) => 2 ** (start + place / index.bins);
    const spec = {
      kind: "bars", x: "activation", y: "positions", domain: null, log: true, dense: true, wide: true, series: ["positions"],
      columns: ["series", "name", "facet", "filter", "x", "value", "low", "high", "kind", "verdict"],
      rows: counts.map((count, place) => [0, "positions", "", null, edge(place), count, null, edge(place + 1), null, null]),
    };
    const button = (act, text) => element("button", { type: "button", "data-act": act }, text);
    const data_ = element("script", { type: "application/json", class: "spec" });
    data_.textContent = JSON.stringify(spec);
    return element("figure", { id: `histogram-${latent}`, "data-figure": "" },
      element("figcaption", {}, element("h3", {}, "Activations")),
      element("div", { class: "tools" }, button("save-csv", "CSV"), button("save-svg", "SVG"), button("save-png", "PNG")),
      element("div", { class: "plot wide", role: "img", "aria-label": `Histogram of ${data.active} activations, mean ${data.mean}, largest ${data.max}` }),
      data_);
  };

  const open = async (latent) => {
    const one = field("one");
    opened = latent;
    let data;
    let found;
    try {
      found = await chunk(Math.floor(latent / index.chunk));
      data = found?.latents[latent % index.chunk];
    } catch (error) {
      one.replaceChildren(element("p", { class: "bad" }, error.message));
      return;
    }
    if (!data || opened !== latent) return;
    const context = contextOf(found, data.max);
    const contexts = (all) => all.map(context);
    const parts = [element("h2", { id: "title", tabindex: "-1" }, `Latent ${latent}`)];
    const facts = [`active at ${data.active} of ${index.rows} positions`, `mean ${small(data.mean)}, largest ${small(data.max)} where it is`];
    if (data.effect) facts.push(`taking it away changes the logit difference by ${small(data.effect[0] < 0 ? -data.effect[0] : data.effect[0]).replace(/^/, data.effect[0] < 0 ? "-" : "")} (first order, mean over ${data.effect[1]} of ${index.prompts} prompts on which it is active)`);
    if (data.supervised) facts.push(`nearest supervised feature: ${data.supervised[0]}, cosine ${number(data.supervised[1])}`);
    parts.push(element("ul", {}, ...facts.map((fact) => element("li", {}, word(fact)))));
    if (data.active === 0) parts.push(element("p", {}, "It is silent: no context."));
    if (data.predicates.length) {
      parts.push(group("Best predicates", "Chosen on the even prompts, scored on the odd ones.",
        table(["predicate", "precision", "recall", "F1"], data.predicates.map(([name, scores]) => [word(name), ...scores.map((score) => number(score))]))));
    }
    const bars = histogram(latent, data);
    if (bars) parts.push(bars);
    if (data.top.length) parts.push(group("Strongest contexts", "One a window, equal texts once.", ...contexts(data.top)));
    const names = ["upper quarter", "third quarter", "second quarter", "lower quarter"];
    data.quantiles.forEach((all, place) => all.length && data.active > 4 && parts.push(group(`Contexts of the ${names[place]}`, null, ...contexts(all))));
    if (data.random.length) parts.push(group("Random contexts", "A uniform sample of where it is active.", ...contexts(data.random)));
    const columns = [];
    if (data.logits) {
      const rows = (all) => all.map(([token, amount]) => [word(found.words[token]), number(amount, 2)]);
      columns.push(group("Logits raised most", null, table(["token", "by"], rows(data.logits[0]))));
      columns.push(group("Logits lowered most", null, table(["token", "by"], rows(data.logits[1]))));
    }
    const near = (all) => all.map(([other, amount]) => [link(other), word(nameOf(other)), number(amount)]);
    if (data.decoder.length) columns.push(group("Nearest directions", null, table(["latent", "best predicate", "cosine"], near(data.decoder))));
    if (data.coactive.length) columns.push(group("Active together", `On ${index.together} positions.`, table(["latent", "best predicate", "Jaccard"], near(data.coactive))));
    parts.push(element("div", { class: "columns" }, ...columns));
    one.replaceChildren(...parts);
    one.dataset.latent = latent;
    if (bars) setUpFigure(bars);
    showList();
  };
  const showOnly = (latents) => {
    only = latents && new Set(latents.filter((latent) => latent < index.rate.length));
    field("only").hidden = !only;
    if (only) field("only").querySelector("span").textContent = only.size === 1 ? "The latent behind a score." : `The ${only.size} latents behind a score.`;
    update();
  };
  const follow = () => {
    const behind = /^#latents-(\d+(?:,\d+)*)$/.exec(location.hash);
    if (behind) {
      const latents = behind[1].split(",").map(Number);
      showOnly(latents);
      if (only.has(latents[0])) open(latents[0]);
      return;
    }
    const match = /^#latent-(\d+)$/.exec(location.hash);
    if (!match) return;
    const latent = Number(match[1]);
    if (latent < index.rate.length) open(latent);
    else say(`there are ${index.rate.length} latents`);
  };

  document.addEventListener("DOMContentLoaded", async () => {
    try {
      await load("index.js");
    } catch (error) {
      field("facts").textContent = error.message;
      return;
    }
    const silent = index.rate.filter((rate) => rate === 0).length;
    field("facts").textContent = `${index.rate.length} latents, ${silent} of them silent, on ${index.rows} positions`;
    for (const id of ["search", "least-f1", "least-rate", "most-rate"]) field(id).addEventListener("input", update);
    field("number").addEventListener("change", () => { if (field("number").value !== "") location.hash = `latent-${field("number").value}`; });
    field("random").addEventListener("click", () => {
      const live = order.filter((latent) => index.rate[latent] > 0);
      if (live.length) location.hash = `latent-${live[Math.floor(Math.random() * live.length)]}`;
    });
    field("save-list").addEventListener("click", () => {
      const rows = order.map((latent) => [latent, index.rate[latent], index.max[latent], index.f1[latent], nameOf(latent), index.effect[latent]]);
      download("latents.csv", "text/csv", csv([["latent", "rate", "largest", "F1", "best predicate", "effect"], ...rows]));
    });
    field("only").querySelector("button").addEventListener("click", () => showOnly(null));
    field("previous").addEventListener("click", () => { first = Math.max(0, first - PAGE); showList(); });
    field("next").addEventListener("click", () => { first += PAGE; showList(); });
    field("list").tHead.addEventListener("click", (event) => {
      const key = event.target.closest("[data-key]")?.dataset.key;
      if (!key) return;
      sort = { key, up: sort.key === key ? !sort.up : key === "number" || key === "best" };
      update();
    });
    addEventListener("hashchange", follow);
    update();
    follow();
    document.documentElement.dataset.drawn = "true";
  });
})();
