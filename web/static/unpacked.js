// In the page for addresses at which the host of a published copy has no file: starts the worker that opens packed pages,
// and asks for the page again, which the worker then answers.
(async function () {
  "use strict";
  const place = document.querySelector("[data-unpacked]");
  function say(title, text) {
    document.title = title;
    place.querySelector("h1").textContent = title;
    place.querySelector("p").textContent = text;
  }
  if (!("serviceWorker" in navigator)) {
    return say("This page is packed", "Neurons and tokens are packed into archives here, which a script opens (a service worker). "
      + "It needs an address that begins with https.");
  }
  const key = "opened " + location.href;
  try {
    await navigator.serviceWorker.register(place.dataset.unpacked);
    await navigator.serviceWorker.ready;
  } catch (error) {
    return say("This page cannot be opened here", `The script that opens archives does not start: ${error.message}`);
  }
  if (sessionStorage.getItem(key)) return say("This page cannot be opened here", "The script that opens archives does not answer.");
  sessionStorage.setItem(key, "yes");
  location.reload();
})();
