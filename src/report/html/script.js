"use strict";
(() => {
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));
  const plural = (number, what) => number + " " + what + (number === 1 ? "" : "s");

  // An anchor into something that is folded opens it.
  const reveal = (element) => {
    for (let at = element; at; at = at.parentElement) {
      if (at.tagName === "DETAILS") at.open = true;
    }
  };
  const follow = () => {
    const target = location.hash.length > 1 && document.getElementById(location.hash.slice(1));
    if (target && target.tagName === "DETAILS") {
      reveal(target);
      target.scrollIntoView();
    }
  };
  addEventListener("hashchange", follow);
  follow();

  const search = document.getElementById("search");
  if (search) {
    const form = search.form;
    const logs = all("pre.log");
    const lines = all(".line");
    const said = document.getElementById("hits");
    const errors = document.getElementById("errors");
    let hits = [];
    let now = -1;

    const show = (index) => {
      if (hits.length === 0) return;
      if (now >= 0 && hits[now]) hits[now].classList.remove("now");
      now = (index + hits.length) % hits.length;
      reveal(hits[now]);
      hits[now].classList.add("now");
      hits[now].scrollIntoView({ block: "center" });
      said.textContent = now + 1 + " of " + plural(hits.length, "line");
    };
    const find = () => {
      for (const line of hits) line.classList.remove("hit", "now");
      const wanted = search.value.toLowerCase();
      const shown = errors.checked ? lines.filter((line) => line.classList.contains("error")) : lines;
      hits = wanted === "" ? [] : shown.filter((line) => line.textContent.toLowerCase().includes(wanted));
      for (const line of hits) line.classList.add("hit");
      now = -1;
      said.textContent = wanted === "" ? "" : plural(hits.length, "line");
    };
    let waiting = 0;
    search.addEventListener("input", () => {
      clearTimeout(waiting);
      waiting = setTimeout(find, 150);
    });
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      clearTimeout(waiting);
      if (now < 0) find();
      show(now + 1);
    });
    document.getElementById("next").addEventListener("click", () => show(now + 1));
    document.getElementById("previous").addEventListener("click", () => show(now < 0 ? hits.length - 1 : now - 1));
    errors.addEventListener("change", () => {
      for (const log of logs) log.classList.toggle("only-errors", errors.checked);
      find();
    });
    const fold = document.getElementById("fold");
    fold.addEventListener("click", () => {
      const open = fold.textContent === "Open all";
      for (const details of all("details.stage, details.step")) details.open = open;
      fold.textContent = open ? "Close all" : "Open all";
    });
    form.hidden = false;
  }

  const filter = document.getElementById("filter");
  if (filter) {
    const rows = all("table.runs tbody tr");
    const said = document.getElementById("shown");
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter((word) => word !== "");
      let shown = 0;
      for (const row of rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
        if (!row.hidden) shown += 1;
      }
      said.textContent = words.length === 0 ? "" : plural(shown, "run");
    });
    filter.form.addEventListener("submit", (event) => event.preventDefault());
    filter.form.hidden = false;
  }
})();
