// Refreshes the page periodically. Without this script it is static.
(() => {
  "use strict";
  const INTERVAL_MS = 5000;
  const message = document.getElementById("refresh");
  const pause = document.getElementById("pause");
  let paused = false;

  const show = (text, stale) => {
    message.textContent = text;
    document.body.classList.toggle("stale", stale);
  };
  const asOf = () => document.getElementById("as-of").textContent;

  // Do not replace the content while it is selected or has keyboard focus.
  const inUse = (news) => {
    const selection = getSelection();
    const selected = !selection.isCollapsed && news.contains(selection.anchorNode);
    const focus = document.activeElement;
    return selected || (news.contains(focus) && focus.matches(":focus-visible"));
  };

  const refresh = async () => {
    const old = document.getElementById("news");
    if (paused || document.hidden || inUse(old)) return;
    const response = await fetch(location.href, { cache: "no-store" });
    if (!response.ok) throw new Error(`status ${response.status}`);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("news");
    if (paused || inUse(old)) return;
    for (const details of old.querySelectorAll("details[id]")) {
      const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = details.open;
    }
    old.replaceWith(document.adoptNode(fresh));
    document.title = page.title;
    show(`updated ${asOf()} UTC`, false);
  };

  const loop = async () => {
    try {
      await refresh();
    } catch {
      show(`no answer; this is as of ${asOf()} UTC`, true);
    }
    setTimeout(loop, INTERVAL_MS);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Resume" : "Pause";
    show(paused ? `paused at ${asOf()} UTC` : `updated ${asOf()} UTC`, false);
  });
  show(`updated ${asOf()} UTC`, false);
  setTimeout(loop, INTERVAL_MS);
})();
