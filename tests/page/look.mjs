// Drives Chromium for the tests of the status page and for pictures of it. Reads commands from standard input, one JSON
// object a line, and answers each with one JSON object on a line.
//
//   node tests/page/look.mjs PACKAGES CHROMIUM
//
// PACKAGES is `scripts/setup.sh --print page`, CHROMIUM is `scripts/setup.sh --print chromium`.
//
//   {"do": "open", "url": ..., "dark": false, "width": 1280, "height": 800, "scripts": true, "target": "CSS selector to wait for"}
//   {"do": "report"}             title, text, problems of the console, requests elsewhere, sizes, times
//   {"do": "axe"}                what axe-core finds, serious or critical
//   {"do": "wait", "selector": ..., "ms": 10000}    until it is visible
//   {"do": "click" | "focused" | "fill" | "press", ...}
//   {"do": "picture", "path": ..., "whole": true}
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";

const [packages, chromium] = process.argv.slice(2);
const require = createRequire(`${packages}/package.json`);
const { chromium: driver } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const browser = await driver.launch({ executablePath: chromium, args: ["--no-sandbox", "--disable-gpu"] });
let context, page, errors, elsewhere, origin;

async function open({ url, dark = false, width = 1280, height = 800, scripts = true, target = "main" }) {
  await context?.close();
  // Scripts of the tests run in the page too: axe-core needs them where the policy forbids others.
  context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    javaScriptEnabled: scripts,
    deviceScaleFactor: Number(process.env.PICTURE_SCALE || 1),
    timezoneId: "UTC",
  });
  page = await context.newPage();
  [errors, elsewhere] = [[], []];
  origin = new URL(url).origin;
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") errors.push(message.text());
  });
  page.on("pageerror", (error) => errors.push(String(error)));
  page.on("request", (request) => {
    const to = request.url();
    if (!to.startsWith("data:") && new URL(to).origin !== origin) elsewhere.push(to);
  });
  const answer = await page.goto(url, { waitUntil: "load", timeout: 20000 });
  await page.waitForSelector(target, { timeout: 10000 });
  return { status: answer.status(), policy: answer.headers()["content-security-policy"] || "" };
}

async function report() {
  const seen = await page.evaluate(() => {
    const [load] = performance.getEntriesByType("navigation");
    const body = document.body;
    const wide = [...document.querySelectorAll("main *, header *, footer *")].filter((e) => {
      const box = e.getBoundingClientRect();
      const inside = e.closest(".wide, pre, .unseen, svg");
      return box.width > 0 && !inside && (box.right > innerWidth + 1 || box.left < -1);
    });
    const sign = document.getElementById("old");
    return {
      title: document.title,
      text: body.innerText,
      old: sign && !sign.hidden ? sign.innerText : "",
      width: document.documentElement.scrollWidth,
      window: innerWidth,
      wide: wide.slice(0, 5).map((e) => e.outerHTML.slice(0, 160)),
      rows: document.querySelectorAll(".target").length,
      served: load.responseStart - load.requestStart,
      ready: load.domContentLoadedEventEnd - load.startTime,
    };
  });
  return { ...seen, errors, elsewhere };
}

async function check() {
  await page.evaluate(axe);
  const found = await page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.map(({ id, impact, help, nodes }) => ({
      id, impact, help, nodes: nodes.slice(0, 4).map((n) => `${n.html.slice(0, 200)} :: ${n.failureSummary?.slice(0, 300)}`),
    }));
  });
  return { violations: found };
}

const commands = {
  open,
  report,
  axe: check,
  wait: async ({ selector, ms = 10000 }) => {
    await page.waitForSelector(selector, { state: "visible", timeout: ms });
    return {};
  },
  click: async ({ selector }) => { await page.click(selector, { timeout: 5000 }); return {}; },
  fill: async ({ selector, value }) => { await page.fill(selector, value); return {}; },
  press: async ({ key }) => { await page.keyboard.press(key); return {}; },
  focused: async () => ({ html: await page.evaluate(() => document.activeElement?.outerHTML.slice(0, 200) ?? "") }),
  picture: async ({ path, whole = true }) => { await page.screenshot({ path, fullPage: whole }); return {}; },
};

const say = (answer) => process.stdout.write(`${JSON.stringify(answer)}\n`);
say({ ready: true });
for await (const line of createInterface({ input: process.stdin })) {
  try {
    const { do: name, ...rest } = JSON.parse(line);
    say(await commands[name](rest));
  } catch (error) {
    say({ error: String(error?.message ?? error) });
  }
}
await browser.close();
