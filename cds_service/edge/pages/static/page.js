// Comfort only: without it every form works by loading a page.
"use strict";

function replaceInPlace(form) {
  const part = form.dataset.inPlace;
  const focused = document.activeElement && document.activeElement.id;
  fetch(form.action, { method: "POST", body: new URLSearchParams(new FormData(form)), credentials: "omit" })
    .then((answer) => answer.text().then((text) => (answer.ok ? text : Promise.reject(text))))
    .then((text) => {
      const fresh = new DOMParser().parseFromString(text, "text/html").getElementById(part);
      document.getElementById(part).replaceWith(fresh);
      enhance(fresh);
      const again = focused && document.getElementById(focused);
      if (again) again.focus({ preventScroll: true });
    })
    .catch(() => form.submit());
}

function enhance(root) {
  for (const form of root.querySelectorAll("form[data-in-place]")) {
    form.addEventListener("submit", (event) => { event.preventDefault(); replaceInPlace(form); });
    form.addEventListener("change", () => replaceInPlace(form));
  }
  for (const block of root.querySelectorAll("pre[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = "Copy";
    button.addEventListener("click", () => navigator.clipboard.writeText(block.textContent).then(() => { button.textContent = "Copied"; }));
    block.before(button);
  }
}

enhance(document);
