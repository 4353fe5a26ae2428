// Updates the page. It works without this, but is not updated.
(() => {
  "use strict";
  const EVERY_MS = 5000;
  const told = document.getElementById("refresh");
  const pause = document.getElementById("pause");
  let paused = false;

  const tell = (text, stale) => {
    told.textContent = text;
    document.body.classList.toggle("stale", stale);
  };
  const asOf = () => document.getElementById("as-of").textContent;

  // Don't replace text that is selected, or an element with the focus.
  const inUse = (news) => {
    const selection = getSelection();
    const selected = !selection.isCollapsed && news.contains(selection.anchorNode);
    const focus = document.activeElement;
    return selected || (news.contains(focus) && focus.matches(":focus-visible"));
  };

  const refresh = async () => {
    const old = document.getElementById("news");
    if (paused || document.hidden || inUse(old)) return;
    const answer = await fetch(location.href, { cache: "no-store" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const fresh = page.getElementById("news");
    if (paused || inUse(old)) return;
    for (const details of old.querySelectorAll("details[id]")) {
      const same = fresh.querySelector(`#${CSS.escape(details.id)}`);
      if (same) same.open = details.open;
    }
    old.replaceWith(document.adoptNode(fresh));
    document.title = page.title;
    tell(`updated ${asOf()} UTC`, false);
  };

  const loop = async () => {
    try {
      await refresh();
    } catch {
      tell(`no answer; this is as of ${asOf()} UTC`, true);
    }
    setTimeout(loop, EVERY_MS);
  };

  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    tell(paused ? `paused at ${asOf()} UTC` : `updated ${asOf()} UTC`, false);
  });
  tell(`updated ${asOf()} UTC`, false);
  setTimeout(loop, EVERY_MS);
})();
