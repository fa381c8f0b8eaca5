/* ONNX Runtime as a second opinion, run by node: no library of it is needed to build. */
#include "eval/onnx_model.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

enum { NO_NODE = 127, NO_PACKAGE = 3, REPLY = 4096 };

/* Prints "worst" and the largest difference; says on stderr what is wrong. */
static const char script[] =
	"const fs = require('fs'), [model, file] = process.argv.slice(1);\n"
	"let ort;\n"
	"try { ort = require('onnxruntime-node'); } catch (e) { process.exit(3); }\n"
	"const all = fs.readFileSync(file), n = Number(all.readBigUInt64LE(0));\n"
	"const header = JSON.parse(all.subarray(8, 8 + n).toString());\n"
	"const data = name => {\n"
	"  const [from, to] = header[name].data_offsets;\n"
	"  const bytes = new Uint8Array(all.subarray(8 + n + from, 8 + n + to));\n"
	"  return new Float32Array(bytes.buffer);\n"
	"};\n"
	"(async () => {\n"
	"  const session = await ort.InferenceSession.create(model, {intraOpNumThreads: 1});\n"
	"  const feeds = {};\n"
	"  let worst = 0;\n"
	"  for (const name of session.inputNames) {\n"
	"    const shape = header['in.' + name].shape;\n"
	"    feeds[name] = new ort.Tensor('float32', data('in.' + name), shape);\n"
	"  }\n"
	"  const results = await session.run(feeds);\n"
	"  for (const name of session.outputNames) {\n"
	"    const ours = data('out.' + name), theirs = results[name].data;\n"
	"    if (results[name].dims.join() != header['out.' + name].shape.join())\n"
	"      throw new Error(name + ' has shape ' + results[name].dims);\n"
	"    for (let i = 0; i < ours.length; i++) {\n"
	"      const d = Math.abs(ours[i] - theirs[i]);\n"
	"      if (!(d <= worst)) worst = d;\n"
	"    }\n"
	"  }\n"
	"  console.log('worst ' + worst);\n"
	"})().catch(e => { console.error(String(e)); process.exit(1); });\n";

static void exec_node(const char *onnx, const char *file, int out)
{
	if (dup2(out, STDOUT_FILENO) >= 0)
		execlp("node", "node", "-e", script, onnx, file, (char *)NULL);
	_exit(NO_NODE);
}

static void read_reply(int fd, char *reply)
{
	size_t n = 0;
	ssize_t got;

	while (n < REPLY - 1) {
		got = read(fd, reply + n, REPLY - 1 - n);
		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			break;
		n += (size_t)got;
	}
	reply[n] = '\0';
}

static int judge(const char *onnx, int status, const char *reply, double *worst)
{
	const char *number = strstr(reply, "worst ");

	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_NODE)
		return KC_FAIL(KC_ENOSUP, "%s: cannot be verified: there is no program node", onnx);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_PACKAGE)
		return KC_FAIL(KC_ENOSUP, "%s: cannot be verified: node does not find the package "
			       "onnxruntime-node (npm install onnxruntime-node, NODE_PATH)", onnx);
	if (!WIFEXITED(status) || WEXITSTATUS(status) || !number)
		return KC_FAIL(KC_EBACKEND, "%s: ONNX Runtime does not run it", onnx);
	*worst = strncmp(number + 6, "NaN", 3) ? strtod(number + 6, NULL) : NAN;
	return 0;
}

int kc_onnx_verify(const char *onnx, const char *file, double *worst)
{
	char reply[REPLY];
	int ends[2], status = 0;
	pid_t child;

	if (pipe(ends))
		return KC_FAIL(KC_EIO, "cannot make a pipe: %s", strerror(errno));
	fflush(NULL);
	child = fork();
	if (child == 0)
		exec_node(onnx, file, ends[1]);
	close(ends[1]);
	if (child > 0)
		read_reply(ends[0], reply);
	close(ends[0]);
	if (child < 0)
		return KC_FAIL(KC_EIO, "cannot start node: %s", strerror(errno));
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return judge(onnx, status, reply, worst);
}
