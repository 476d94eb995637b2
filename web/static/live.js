// A study under way: asks how it is getting on, and goes on to its result. Without this the page loads itself again.
(function () {
  "use strict";
  const place = document.querySelector("[data-progress]");
  if (!place) return;
  const bar = place.querySelector("progress");
  const line = place.querySelector("p");

  function show(said) {
    if (said.state === "running" && said.planned) {
      bar.max = said.planned;
      bar.value = said.done;
      line.textContent = `${said.done.toLocaleString("en")} of about ${said.planned.toLocaleString("en")} forward passes, ${Math.round(said.seconds)} s`;
    } else if (said.state === "waiting") {
      line.textContent = said.loading ? "The model is being loaded." : `Waiting for its turn: ${said.before} before it.`;
    }
  }

  function ask() {
    fetch(place.dataset.progress, { headers: { Accept: "application/json" } })
      .then((answer) => (answer.ok ? answer.json() : Promise.reject(new Error(answer.status))))
      .then(function (said) {
        if (said.state === "done") {
          location.replace(said.trouble ? location.href : place.dataset.result);
          return;
        }
        show(said);
        setTimeout(ask, 1000);
      })
      .catch(() => setTimeout(ask, 5000));
  }
  setTimeout(ask, 1000);
})();
