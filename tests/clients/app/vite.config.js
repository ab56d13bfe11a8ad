export default { esbuild: { jsx: "automatic" }, build: { outDir: "build", emptyOutDir: true } };
