// The live parts. Every page can be read without: what is here only saves reloading and retyping.
"use strict";

// Parts that change by themselves: fetched anew every second while the page can be seen.
for (const part of document.querySelectorAll("[data-live]")) {
  const renew = async () => {
    if (!document.hidden) {
      try {
        const answer = await fetch(part.dataset.live);
        if (answer.ok) {
          replace(part, await answer.text());
        }
      } catch {
        // The server is being restarted, most often: the next time will do.
      }
    }
    setTimeout(renew, 1000);
  };
  setTimeout(renew, 1000);
}

// Bars that are there already are moved and not replaced, so that they glide.
function replace(part, html) {
  const fresh = new DOMParser().parseFromString(html, "text/html").body;
  const bars = new Map([...part.querySelectorAll("progress")].map((bar) => [bar.id, bar]));
  for (const bar of fresh.querySelectorAll("progress")) {
    const old = bars.get(bar.id);
    if (old) {
      for (const name of ["max", "value"]) {
        bar.hasAttribute(name) ? old.setAttribute(name, bar.getAttribute(name)) : old.removeAttribute(name);
      }
      bar.replaceWith(old);
    }
  }
  part.replaceChildren(...fresh.childNodes);
}

// Lists that follow what is typed.
for (const form of document.querySelectorAll("form[data-results]")) {
  const results = document.getElementById(form.dataset.results);
  let last = 0;
  const search = async () => {
    const mine = ++last;
    const url = form.action + "?" + new URLSearchParams(new FormData(form));
    const answer = await fetch(url);
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const found = page.getElementById(results.id);
    if (mine === last && found) {
      results.replaceChildren(...found.childNodes);
      history.replaceState(null, "", url);
    }
  };
  let waiting;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => search().catch(() => {}), 150);
  });
  for (const submit of form.querySelectorAll("[data-without-script]")) {
    submit.hidden = true;
  }
}

// Commands to copy.
for (const button of document.querySelectorAll("button[data-copy]")) {
  button.hidden = false;
  button.addEventListener("click", async () => {
    const text = document.getElementById(button.dataset.copy).textContent;
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Only secure pages have a clipboard; others have this.
      const area = document.body.appendChild(document.createElement("textarea"));
      area.value = text;
      area.select();
      document.execCommand("copy");
      area.remove();
      button.focus();
    }
    const said = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => (button.textContent = said), 1500);
  });
}
