// Drives Chromium through the pages of a run: `node scripts/test_web.mjs SAELAB RUN [SCREENSHOTS]`, from the folder of the project.
// What it needs (playwright-core, axe-core) lies in target/web, where `make test-web` puts it.
import { createRequire } from "node:module";
import { spawn, execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync, symlinkSync, writeFileSync, cpSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [saelab, run, shots] = process.argv.slice(2);
const modules = createRequire(resolve("target/web/package.json"));
const { chromium } = modules("playwright-core");
const axe = readFileSync(modules.resolve("axe-core/axe.min.js"), "utf8");
const report = JSON.parse(readFileSync(join(run, "report.json"), "utf8"));
const scratch = mkdtempSync(join(tmpdir(), "saelab-web-"));
if (shots) mkdirSync(shots, { recursive: true });

let passed = 0;
const failures = [];
const check = (holds, what) => {
  if (holds) passed += 1;
  else {
    failures.push(what);
    console.log(`FAILED ${what}`);
  }
};

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

// A page that notes what must not happen: errors on the console, and requests that leave the machine.
const open = async (url, options = {}) => {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, acceptDownloads: true, ...options });
  const page = await context.newPage();
  page.troubles = [];
  page.loaded = 0;
  page.on("console", (message) => message.type() === "error" && page.troubles.push(`console: ${message.text()}`));
  page.on("pageerror", (error) => page.troubles.push(`error: ${error.message}`));
  page.on("dialog", (dialog) => { page.troubles.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("request", (asked) => {
    const to = new URL(asked.url());
    if (!["file:", "data:", "blob:"].includes(to.protocol) && to.hostname !== "127.0.0.1") page.troubles.push(`request: ${asked.url()}`);
  });
  const started = Date.now();
  await page.goto(url);
  page.ready = Date.now() - started;
  await page.waitForFunction(() => document.documentElement.dataset.drawn === "true", null, { timeout: 60000 });
  return page;
};
const close = async (page, what) => {
  check(page.troubles.length === 0, `${what}: ${page.troubles.slice(0, 3).join("; ")}`);
  await page.context().close();
};
const accessible = async (page, what) => {
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const serious = found.violations.filter((violation) => ["serious", "critical"].includes(violation.impact));
  check(serious.length === 0, `${what}: axe-core ${serious.map((one) => `${one.id} (${one.nodes.length}: ${one.nodes[0].html.slice(0, 120)})`).join("; ")}`);
};
const fits = async (page, what) => {
  const [inner, outer] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  check(inner <= outer + 1, `${what}: ${inner} pixels wide in a window of ${outer}`);
};
const downloaded = async (page, act) => {
  const [file] = await Promise.all([page.waitForEvent("download"), act()]);
  return readFileSync(await file.path());
};
const file = (path) => pathToFileURL(resolve(path)).href;

// Every number that says where it stands in report.json, against report.json.
const at = (pointer) => pointer.split("/").slice(1).reduce((value, key) => value?.[key], report);
const compareNumbers = async (page, what) => {
  const numbers = await page.$$eval("data[data-from]", (all) => all.map((one) => [one.value, one.dataset.from, one.textContent]));
  let wrong = null;
  for (const [value, from, text] of numbers) {
    const of = from.split(" ").map(at);
    const mean = of.reduce((sum, x) => sum + x, 0) / of.length;
    const same = Math.abs(mean - Number(value)) <= 1e-9 * Math.max(1, Math.abs(mean)) && Math.abs(Number(text) - mean) <= 0.0005 + 1e-9;
    if (!same) wrong ??= `${from}: ${value}, shown as ${text}, is ${mean}`;
  }
  check(numbers.length > 100 && wrong === null, `${what}: ${numbers.length} numbers; ${wrong}`);
  console.log(`${what}: ${numbers.length} numbers are those of report.json`);
};

try {
  // The page of a run, from disk.
  const runPage = join(run, "report.html");
  let page = await open(file(runPage));
  check(page.ready < 1000, `run page: ${page.ready} ms to its first paint`);
  console.log(`run page: ${(statSync(runPage).size / 1e6).toFixed(2)} MB, loaded in ${page.ready} ms`);
  await compareNumbers(page, "run page");
  const cells = await page.$$eval("#axes table td, #came-out p.lead", (all) => all.filter((cell) => /\d\.\d{3}/.test(cell.textContent) && !cell.querySelector("data") && !cell.closest("figure")).length);
  check(cells === 0, `run page: ${cells} cells with numbers of no origin`);
  // Figures draw the numbers of the report too: each row of a figure of an axis is a score.
  const specs = await page.$$eval("#axes figure", (all) => all.map((one) => JSON.parse(one.querySelector("script.spec").textContent)));
  const known = new Set(report.scores.map((score) => `${score.dictionary} ${score.value} ${score.low} ${score.high}`));
  for (const spec of specs) {
    const column = (name) => spec.columns.indexOf(name);
    const foreign = spec.kind === "scatter" ? [] : spec.rows.filter((row) => !known.has(`${row[column("name")]} ${row[column("value")]} ${row[column("low")]} ${row[column("high")]}`));
    check(foreign.length === 0, `figure ${spec.y}: ${foreign.length} rows that are no score, ${JSON.stringify(foreign[0])}`);
  }
  check((await page.$$eval("figure .plot svg", (all) => all.length)) >= 10, "run page: figures are drawn");
  // Sort and filter.
  const column = () => page.$$eval("#means tbody tr", (all) => all.filter((row) => !row.hidden).map((row) => row.cells[1].querySelector("data")?.value ?? ""));
  await page.click("#means thead th:nth-child(2) button");
  const numbers = (await column()).filter((value) => value !== "").map(Number);
  check(numbers.length > 2 && numbers.every((value, place) => place === 0 || numbers[place - 1] <= value), `run page: sorted ${numbers}`);
  await page.fill('.tools[data-table="means"] input[type=search]', "topk");
  const names = await page.$$eval("#means tbody tr", (all) => all.filter((row) => !row.hidden).map((row) => row.cells[0].textContent));
  check(names.length > 0 && names.every((name) => name.includes("topk")), `run page: filtered ${names}`);
  const csv = (await downloaded(page, () => page.click('.tools[data-table="means"] [data-act="save-csv"]'))).toString();
  check(csv.trim().split("\n").length === names.length + 1 && csv.startsWith("dictionary,"), `run page: CSV of a table: ${csv.slice(0, 80)}`);
  // What a figure exports.
  const data = (await downloaded(page, () => page.click('#control [data-act="save-csv"]'))).toString();
  check(data.split("\n").length > 10 && data.startsWith("series,name"), "run page: CSV of a figure");
  const svg = (await downloaded(page, () => page.click('#control [data-act="save-svg"]'))).toString();
  check(svg.startsWith("<svg") && svg.includes("edit accuracy"), "run page: SVG of a figure");
  const png = await downloaded(page, () => page.click('#control [data-act="save-png"]'));
  check(png.subarray(1, 4).toString() === "PNG" && png.length > 10000, "run page: PNG of a figure");
  // Theme, glossary by keyboard, a choice in a figure.
  const before = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  await page.click("#theme");
  check(before !== (await page.evaluate(() => getComputedStyle(document.body).backgroundColor)), "run page: the theme switches");
  await accessible(page, "run page, dark");
  if (shots) await page.screenshot({ path: join(shots, "run-dark.png") });
  await page.click("#theme");
  await page.focus("#axes .term");
  check(await page.isVisible("#tip"), "run page: a term is explained where it has the focus");
  await page.keyboard.press("Escape");
  check(!(await page.isVisible("#tip")), "run page: Escape closes the explanation");
  await page.selectOption("#interpretability select", { index: 1 });
  check((await page.$$eval("#interpretability .plot svg", (all) => all.length)) > 0, "run page: another score is drawn");
  // From a point of a figure, and from its line in the table, to the latents behind it.
  const linked = await page.$$eval("#interpretability details td a", (all) => all.map((one) => one.getAttribute("href")));
  const wanted = linked.find((href) => href.includes("#latents-"));
  check(linked.length > 10 && wanted !== undefined, `run page: ${linked.length} links to latents`);
  const dots = await page.$$("#interpretability .plot g[aria-label=dot] path, #interpretability .plot g[aria-label=dot] circle");
  for (const dot of dots) {
    await dot.scrollIntoViewIfNeeded();
    const box = await dot.boundingBox();
    await page.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
    if ((await page.evaluate(() => [...document.querySelectorAll("#interpretability .plot svg")].some((svg) => svg.value?.link))) === false) continue;
    await page.mouse.click(box.x + box.width / 2, box.y + box.height / 2);
    await page.waitForURL(/latents\/.*index\.html#latents-/, { timeout: 5000 }).catch(() => {});
    break;
  }
  check(/index\.html#latents-/.test(page.url()), `run page: a point leads to ${page.url()}`);
  for (const url of [page.url(), file(run) + "/" + wanted]) {
    await page.goto("about:blank");
    await page.goto(url);
    await page.waitForFunction(() => document.documentElement.dataset.drawn === "true");
    const behind = new Set(url.split("#latents-")[1].split(","));
    const listed = await page.$$eval("#list tbody tr", (all) => all.map((row) => row.dataset.latent));
    check(listed.length === Math.min(100, behind.size) && listed.every((latent) => behind.has(latent)), `latents behind a score: ${listed.length} of ${behind.size}`);
    await page.waitForSelector("#one .context");
  }
  await page.click("#only button");
  check((await page.$$eval("#list tbody tr", (all) => all.length)) > new Set(wanted.split("#latents-")[1].split(",")).size && !(await page.isVisible("#only")), "latents behind a score: all are shown again");
  await accessible(page, "latents behind a score");
  await page.goto(file(runPage));
  await page.waitForFunction(() => document.documentElement.dataset.drawn === "true");
  await accessible(page, "run page");
  if (shots) {
    await page.evaluate(() => scrollTo(0, 0));
    await page.screenshot({ path: join(shots, "run-desktop.png") });
    await page.screenshot({ path: join(shots, "run-whole.png"), fullPage: true });
    for (const part of ["axes", "phenomena", "trainings", "latents"]) await page.$(`#${part}`).then((found) => found?.screenshot({ path: join(shots, `run-${part}.png`) }));
    await page.pdf({ path: join(shots, "run.pdf") });
  }
  await close(page, "run page");

  page = await open(file(runPage), { viewport: { width: 390, height: 844 }, deviceScaleFactor: 2 });
  await fits(page, "run page on a phone");
  await accessible(page, "run page on a phone");
  if (shots) {
    await page.screenshot({ path: join(shots, "run-phone.png") });
    await page.$("#control").then((found) => found.screenshot({ path: join(shots, "run-phone-control.png") }));
  }
  await close(page, "run page on a phone");

  // The comparison, from disk.
  const comparePage = join(scratch, "compare.html");
  const compared = JSON.parse((execFileSync(saelab, ["compare", run, "--html", comparePage, "--json", join(scratch, "compare.json")], { stdio: ["ignore", "pipe", "inherit"] }), readFileSync(join(scratch, "compare.json"), "utf8")));
  page = await open(file(comparePage));
  const pairs = await page.$$eval("#pairs tbody tr", (all) => all.map((row) => [...row.cells].map((cell) => cell.querySelector("data")?.value ?? cell.textContent)));
  check(pairs.length === compared.pairs.length && pairs.every((row, place) => Number(row[3]) === compared.pairs[place].difference), "comparison: differences are those of --json");
  const means = await page.$$eval("#means tbody tr", (all) => all.map((row) => [...row.cells].slice(2).map((cell) => cell.querySelector("data")?.value ?? null)));
  check(means.every((row, place) => row.every((value, metric) => (value === null ? null : Number(value)) === compared.families[place].means[metric])), "comparison: means are those of --json");
  await page.check('.tools[data-table="pairs"] input[type=checkbox]');
  const real = await page.$$eval("#pairs tbody tr", (all) => all.filter((row) => !row.hidden).length);
  check(real === compared.pairs.filter((pair) => pair.real).length, "comparison: only the real differences");
  await page.selectOption('.tools[data-table="pairs"] select', "mcc");
  const kinds = await page.$$eval("#pairs tbody tr", (all) => all.filter((row) => !row.hidden).map((row) => row.cells[2].textContent));
  check(kinds.every((kind) => kind === "mcc"), "comparison: one metric");
  await page.context().grantPermissions(["clipboard-read", "clipboard-write"]).catch(() => {});
  await page.click('.tools[data-table="ranking"] [data-act="copy-markdown"]');
  await page.waitForFunction(() => document.getElementById("live").textContent.includes("copied"));
  check((await page.textContent("#live")).includes("Markdown copied"), "comparison: Markdown is copied");
  check((await page.$$eval("#pareto-edits .plot svg", (all) => all.length)) === 1, "comparison: the Pareto plot is drawn");
  await accessible(page, "comparison");
  if (shots) await page.screenshot({ path: join(shots, "compare-desktop.png"), fullPage: true });
  await page.setViewportSize({ width: 390, height: 844 });
  await fits(page, "comparison on a phone");
  await close(page, "comparison");

  // Latents, from disk.
  const sets = join(run, "latents");
  const set = readdirSync(sets).find((name) => name.includes("topk") && !name.includes("frozen")) ?? readdirSync(sets)[0];
  const folder = join(sets, set, readdirSync(join(sets, set))[0]);
  const needed = statSync(join(folder, "index.html")).size + statSync(join(folder, "index.js")).size;
  check(needed < 5e6, `latents: ${needed} bytes before one is opened`);
  page = await open(file(join(folder, "index.html")));
  check(page.ready < 1000, `latents: ${page.ready} ms to the list`);
  console.log(`latents: ${(needed / 1e6).toFixed(2)} MB before one is opened, ${page.ready} ms`);
  await page.click('#list [data-key="f1"]');
  const first = await page.getAttribute("#list tbody tr", "data-latent");
  // From the click to what is shown, in the page: latents of several files, none of which was loaded before.
  const times = [];
  for (const row of [40, 25, 10, 1]) {
    const took = await page.evaluate(async (row) => {
      const link = document.querySelectorAll("#list tbody tr td a")[row - 1];
      const one = document.getElementById("one");
      const shown = new Promise((done) => new MutationObserver((_, observer) => { observer.disconnect(); requestAnimationFrame(() => done(performance.now())); }).observe(one, { attributeFilter: ["data-latent"] }));
      const started = performance.now();
      link.click();
      return (await shown) - started;
    }, row);
    times.push(Math.round(took));
  }
  await page.waitForFunction((latent) => document.getElementById("one").dataset.latent === latent, first);
  check(Math.max(...times) < 300, `latents: ${times} ms to open one`);
  console.log(`latents: one is opened in ${times} ms`);
  check((await page.$$eval("#one .context", (all) => all.length)) > 5 && (await page.$$eval("#one .context bdi[style]", (all) => all.length)) > 5, "latents: contexts with colours");
  check((await page.$$eval("#one figure svg", (all) => all.length)) === 1, "latents: a histogram");
  await accessible(page, "latents");
  if (shots) await page.screenshot({ path: join(shots, "latents-desktop.png") });
  // Search by a token, and by a predicate.
  const token = (await page.textContent("#one .context .focus")).trim();
  await page.fill("#search", token);
  const found = await page.$$eval("#list tbody tr", (all) => all.map((row) => row.dataset.latent));
  check(found.includes(first), `latents: latent ${first} is found by its token ${token}`);
  await page.fill("#search", "");
  await page.fill("#least-f1", "0.9");
  const high = await page.$$eval("#list tbody tr", (all) => all.map((row) => Number(row.cells[3].textContent)));
  check(high.every((value) => value >= 0.9), "latents: filtered by F1");
  const list = (await downloaded(page, () => page.click("#save-list"))).toString();
  check(list.startsWith("latent,rate") && list.trim().split("\n").length >= high.length + 1, "latents: CSV of the list");
  await page.setViewportSize({ width: 390, height: 844 });
  await fits(page, "latents on a phone");
  if (shots) await page.screenshot({ path: join(shots, "latents-phone.png") });
  await close(page, "latents");

  // Hostile names and tokens: shown, never executed, and the layout holds.
  const hostile = ["<script>alert(1)</script>", "\"'><img src=x onerror=alert(1)>", "\u202etxt.exe", "\u{1f600}\u0000\u0007", "</script><svg onload=alert(1)>", "x".repeat(1 << 20)];
  const evil = join(scratch, "evil");
  mkdirSync(evil);
  const other = structuredClone(report);
  const rename = new Map(other.dictionaries.map((facts, place) => [facts.name, `${place === 2 ? "y".repeat(20000) : hostile[place % 5]}${place}`]));
  for (const facts of other.dictionaries) facts.family = facts.name = rename.get(facts.name);
  for (const score of other.scores) score.dictionary = rename.get(score.dictionary) ?? score.dictionary;
  other.config.reference = hostile[5];
  other.model.hash = hostile[1];
  writeFileSync(join(evil, "report.json"), JSON.stringify(other));
  writeFileSync(join(evil, "run.json"), JSON.stringify({ host: hostile[1], [hostile[0]]: hostile[5] }));
  execFileSync(saelab, ["report", evil], { stdio: ["ignore", "pipe", "inherit"] });
  const evilLatents = join(evil, "latents", "set", "site");
  cpSync(folder, evilLatents, { recursive: true });
  for (const name of readdirSync(evilLatents).filter((name) => name.endsWith(".js"))) {
    const [, call, json] = /^(saelab\w+\()(.*)\);\n$/s.exec(readFileSync(join(evilLatents, name), "utf8"));
    const data = JSON.parse(json);
    data.words = data.words.map((word, place) => (place === 1 ? hostile[5] : place % 4 === 0 ? hostile[(place / 4) % 5] : word));
    if (data.names) data.names = data.names.map((_, place) => hostile[place % 5]);
    writeFileSync(join(evilLatents, name), `${call}${JSON.stringify(data)});\n`);
  }
  page = await open(file(join(evil, "report.html")), { viewport: { width: 390, height: 844 } });
  await fits(page, "hostile run page");
  check((await page.$$eval("main script:not([type]), main img, main svg[onload]", (all) => all.length)) === 0, "hostile run page: no name is a tag");
  check((await page.textContent("main")).includes("<script>alert(1)</script>"), "hostile run page: names are shown");
  await close(page, "hostile run page");
  page = await open(file(join(evilLatents, "index.html")), { viewport: { width: 390, height: 844 } });
  await page.click("#list tbody tr td a");
  await page.waitForSelector("#one .context");
  await fits(page, "hostile latents");
  check((await page.$$eval("main img, main script", (all) => all.filter((one) => !one.classList.contains("spec")).length)) === 0, "hostile latents: no token is a tag");
  await close(page, "hostile latents");

  // The server: the same pages, a damaged run beside them.
  const root = join(scratch, "runs");
  mkdirSync(root);
  cpSync(run, join(root, "good"), { recursive: true, filter: (path) => !path.includes("activations") });
  mkdirSync(join(root, "damaged"));
  writeFileSync(join(root, "damaged", "report.json"), '{"format_version": 5, "scores": [');
  mkdirSync(join(root, "half"));
  mkdirSync(join(root, "half", "eval-unfinished"));
  mkdirSync(join(root, "<img src=x onerror=alert(1)>"));
  mkdirSync(join(root, "<img src=x onerror=alert(1)>", "sae"));
  symlinkSync("/etc", join(root, "out"));
  const server = spawn(saelab, ["serve", root, "--listen", "127.0.0.1:0"], { stdio: ["ignore", "pipe", "inherit"] });
  const address = await new Promise((done, failed) => {
    server.stdout.on("data", (text) => done(String(text).trim()));
    server.on("exit", () => failed(new Error("the server ended")));
  });
  try {
    page = await open(address);
    const states = await page.$$eval("#runs tbody tr", (all) => Object.fromEntries(all.map((row) => [row.cells[0].textContent, row.cells[2].textContent])));
    check(states.good === "evaluated" && states.damaged.startsWith("damaged") && states.half === "in evaluation" && states["<img src=x onerror=alert(1)>"] === "trained" && !("out" in states), `list: ${JSON.stringify(states)}`);
    await accessible(page, "list");
    if (shots) await page.screenshot({ path: join(shots, "list-desktop.png") });
    await page.check('#runs input[name="run"]');
    await page.click('form button[type="submit"]');
    await page.waitForSelector("#pairs");
    await page.goBack();
    await page.click("#runs bdi:text-is('damaged')");
    check((await page.textContent("main")).includes("cannot be shown"), "list: a damaged run is shown as such");
    await page.goBack();
    await page.click("#runs bdi:text-is('good')");
    await page.waitForFunction(() => document.documentElement.dataset.drawn === "true");
    await compareNumbers(page, "served run page");
    await page.click("#latents a");
    await page.waitForFunction(() => document.documentElement.dataset.drawn === "true");
    await page.click("#list tbody tr td a");
    await page.waitForSelector("#one .context");
    await close(page, "server");
    const ask = (path, headers = {}, method = "GET") =>
      new Promise((done, failed) => {
        const { port } = new URL(address);
        const asked = request({ host: "127.0.0.1", port, path, method, headers }, (answer) => { answer.resume(); answer.on("end", () => done(answer)); });
        asked.on("error", failed);
        asked.end();
      });
    const { host } = new URL(address);
    for (const [path, headers, status, method] of [
      ["/", {}, 200], ["/", { Host: "evil.example" }, 403], ["/", { Host: `evil.example:${host.split(":")[1]}` }, 403],
      ["/", { Origin: "http://evil.example" }, 403], ["/", { Origin: "null" }, 403], ["/", { Origin: address.replace(/\/$/, "") }, 200],
      ["/run/../../etc/passwd", {}, 400], ["/run/%2e%2e/%2e%2e/etc/passwd", {}, 400], ["/run/..%2f..%2fetc%2fpasswd", {}, 400],
      ["/run/out/passwd", {}, 404], ["/run/out/", {}, 404], ["/run/good/resamples.parquet", {}, 404], ["/run/good/report.json", {}, 200],
      ["/run/good/latents/%2e%2e/report.json", {}, 400], ["/", {}, 405, "POST"],
    ]) {
      const answer = await ask(path, headers, method);
      check(answer.statusCode === status, `${method ?? "GET"} ${path} ${JSON.stringify(headers)}: ${answer.statusCode}, not ${status}`);
      check((answer.headers["content-security-policy"] ?? "").startsWith("default-src 'none'"), `${path}: a policy`);
    }
    const gone = new Promise((done) => server.once("exit", done));
    server.kill("SIGINT");
    await gone;
    check(server.exitCode === 0, `server: Ctrl-C ends it with ${server.exitCode}`);
  } finally {
    server.kill();
  }
} catch (error) {
  failures.push(error.stack);
  console.log(error.stack);
} finally {
  await browser.close();
  rmSync(scratch, { recursive: true, force: true });
}
console.log(`${passed} passed, ${failures.length} failed`);
process.exit(failures.length ? 1 : 0);
