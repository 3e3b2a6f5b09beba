// Keeps pages current. Everything here is also there without it, after a reload.
(() => {
  "use strict";

  // Parts that the server renders again when something has changed.
  const parts = () => document.querySelectorAll("[data-live][id]");
  let loading = false, stale = false, timer = 0;

  async function refresh() {
    if (loading) { stale = true; return; }
    loading = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: "text/html" } });
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
        for (const part of parts()) {
          const next = fresh.getElementById(part.id);
          if (next && !part.contains(document.activeElement) && next.innerHTML !== part.innerHTML) part.replaceWith(document.adoptNode(next));
        }
        // A build that has begun, or is tried again, has another log.
        const [log, other] = [document, fresh].map((page) => page.getElementById("log-part"));
        if (log && other && log.dataset.attempt !== other.dataset.attempt) { log.replaceWith(document.adoptNode(other)); followLog(); }
        const [nav, next] = [document, fresh].map((page) => page.querySelector(".top nav"));
        if (nav && next && !nav.contains(document.activeElement)) nav.replaceWith(document.adoptNode(next));
      }
    } catch { /* the next event tries again */ }
    loading = false;
    if (stale) { stale = false; later(); }
  }
  function later() { clearTimeout(timer); timer = setTimeout(refresh, 400); }

  if (parts().length > 0) {
    const events = new EventSource("/api/v1/events");
    for (const kind of ["build", "run", "review", "repository", "reset"]) events.addEventListener(kind, later);
    setInterval(() => { if (!document.hidden) refresh(); }, 30000);
  }

  // The log of a build that runs.
  const MOST = 4000;
  let source = null;

  function followLog() {
    if (source) source.close();
    source = null;
    const log = document.getElementById("log");
    if (!log) return;
    log.scrollTop = log.scrollHeight;
    if (!log.dataset.events) return;
    source = new EventSource(log.dataset.events);
    source.addEventListener("log", (event) => {
      const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
      for (const piece of JSON.parse(event.data).pieces) {
        const span = document.createElement("span");
        span.textContent = piece.text;
        if (piece.style) span.className = piece.style;
        log.append(span);
      }
      while (log.childNodes.length > MOST) log.firstChild.remove();
      if (atEnd) log.scrollTop = log.scrollHeight;
    });
    source.addEventListener("end", () => {
      source.close();
      const state = document.getElementById("log-state");
      if (state) state.textContent = "This is its end.";
      later();
    });
  }
  followLog();
})();
