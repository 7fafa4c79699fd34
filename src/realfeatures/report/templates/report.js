// In an iframe's srcdoc, as in Kubeflow's UI and in notebooks, "#claims" is a place of the outer page: following it
// leaves a blank frame. Elsewhere these links lead into this page, and the browser follows them itself.
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[href^='#']");
  if (!link || link.href.split("#")[0] === location.href.split("#")[0]) return;
  event.preventDefault();
  const target = document.getElementById(link.getAttribute("href").slice(1));
  if (!target) return;
  target.scrollIntoView();
  target.tabIndex = -1; // The next Tab goes on from here, as after a link that the browser follows.
  target.focus({ preventScroll: true });
});
