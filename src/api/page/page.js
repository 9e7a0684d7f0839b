// Keeps the status page fresh, and shows unmistakably when it is not. Without scripts the page reloads itself.
"use strict";
(() => {
  const root = document.documentElement;
  root.classList.add("scripted");
  const sign = document.getElementById("old");
  const live = document.getElementById("live");
  const announce = document.getElementById("announce");
  const form = document.getElementById("finder");
  const title = document.title;
  let fresh = performance.now();
  let clock = new Date();
  let problem = "";
  let asked = 0;
  let shown = 0;
  let timer = 0;

  const main = () => document.querySelector("main");
  const every = () => Math.max(1, Number(main().dataset.every) || 5) * 1000;
  const two = (n) => String(n).padStart(2, "0");
  const time = (d) => `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;

  function age(seconds) {
    const s = Math.floor(seconds);
    if (s < 120) return `${s} s`;
    if (s < 7200) return `${Math.floor(s / 60)} min`;
    if (s < 172800) return `${Math.floor(s / 3600)} h`;
    return `${Math.floor(s / 86400)} d`;
  }

  // The present address, with the form's values in place of those in it.
  function address() {
    const url = new URL(location.href);
    url.hash = "";
    if (form) {
      for (const [name, value] of new FormData(form)) {
        if (value) url.searchParams.set(name, value);
        else url.searchParams.delete(name);
      }
    }
    return url;
  }

  async function refresh() {
    clearTimeout(timer);
    const turn = ++asked;
    try {
      const url = address();
      url.searchParams.set("part", "main");
      const answer = await fetch(url, { cache: "no-store", signal: AbortSignal.timeout(8000) });
      if (!answer.ok) throw new Error(answer.status === 404 ? "this target does not exist any more"
        : answer.status === 401 || answer.status === 403 ? "the exporter does not show it any more: log in again"
        : `the exporter answers with an error (${answer.status})`);
      const text = await answer.text();
      if (turn > shown) {
        shown = turn;
        replace(text);
        fresh = performance.now();
        clock = new Date();
        problem = "";
      }
    } catch (error) {
      problem = error instanceof TypeError || error.name === "TimeoutError" ? "the exporter does not answer"
        : error.message;
    }
    tick();
    if (turn === asked) timer = setTimeout(refresh, every());
  }

  // Puts the new content in place; what is open stays open, and the focus stays where it was.
  function replace(text) {
    const before = main();
    const after = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    if (!after) throw new Error("the exporter answers with something else");
    const open = new Set([...before.querySelectorAll("details[open]")].map((d) => d.id));
    for (const d of after.querySelectorAll("details")) if (open.has(d.id)) d.open = true;
    const parts = (e) => [...e.querySelectorAll("[data-part]")];
    const focused = document.activeElement && before.contains(document.activeElement)
      ? document.activeElement.dataset.key : null;
    const said = before.dataset.say;
    const fresh = parts(after);
    // The form between the parts stays: somebody may be typing in it.
    parts(before).forEach((part, n) => part.replaceChildren(...fresh[n].childNodes));
    Object.assign(before.dataset, after.dataset);
    times();
    if (focused) {
      for (const e of before.querySelectorAll("[data-key]")) if (e.dataset.key === focused) e.focus({ preventScroll: true });
    }
    if (after.dataset.say !== said) announce.textContent = after.dataset.say;
    const icon = document.querySelector("link[rel=icon]");
    if (icon && after.dataset.icon) icon.href = after.dataset.icon;
  }

  // Clock times in the reader's own time zone.
  function times() {
    for (const e of document.querySelectorAll("time[datetime]")) {
      const d = new Date(e.dateTime);
      if (!Number.isNaN(d.getTime())) {
        e.textContent = time(d);
        e.title = d.toString();
      }
    }
  }

  function tick() {
    const passed = (performance.now() - fresh) / 1000;
    for (const e of document.querySelectorAll("[data-age]")) e.textContent = `${age(Number(e.dataset.age) + passed)} ago`;
    const old = problem !== "" && passed * 1000 > every() * 1.5 || passed * 1000 > every() * 3;
    root.classList.toggle("old", old);
    sign.hidden = !old;
    const prefix = main().dataset.title || title;
    document.title = old ? `OLD DATA \u00b7 ${prefix}` : prefix;
    if (old) {
      const reason = problem || "the exporter does not answer";
      const text = `Everything below was true at ${time(clock)}, ${age(passed)} ago: ${reason}.`;
      sign.querySelector("span").textContent = text;
    }
    live.textContent = old ? `old since ${age(passed)}` : `updated ${age(passed)} ago`;
  }

  if (form) {
    let wait = 0;
    form.addEventListener("input", () => {
      clearTimeout(wait);
      wait = setTimeout(() => {
        history.replaceState(null, "", address());
        refresh();
      }, 150);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      history.replaceState(null, "", address());
      refresh();
    });
  }
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) refresh();
  });
  times();
  tick();
  setInterval(tick, 1000);
  timer = setTimeout(refresh, every());
})();
