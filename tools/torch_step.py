#!/usr/bin/env python3
"""One training step of TCVC in plain PyTorch, to be timed beside `bin/gpu_check bench`.

It keeps the shape of the published training loop: frame by frame, a FlowNet 2.0 call of one pair
per warp (41 for 12 frames, ten of them repeated), the luma features of three frames anew in every
step, self-regularization at steps 1 and 2, Adam.  Sources: TCVC, arXiv 2110.04562; FlowNet 2.0,
arXiv 1612.01925; siggraph17, arXiv 1705.02999.  Parameters have the published names; the custom
kernels of FlowNet 2.0 are a few operators of PyTorch here.  bf16 is autocast, with the frozen
convolutions kept in bf16, which autocast would convert anew in every call.

  tools/torch_step.py --precision float32|tf32|bf16 --steps N [--compile] [--layout LAYOUT]
      N steps behind some that warm up, on random frames and random weights; one line of JSON
      (median, least and most milliseconds of a step, the upload of its frames included; device_mb:
      the most that tensors took).  Without enough memory, or where torch.compile fails: one line
      of error and exit status 1
  tools/torch_step.py --check tests/golden/tcvc_forward_net.safetensors [--device cpu]
      the whole network, FlowNet 2.0 included, against numbers of the published code; of
      tcvc_train.safetensors, 20 steps of Adam.  Weights by formula, from weights.tsv beside the
      file.  Exit status 1 if anything is off by more than ten times what float32 is off from
      float64 in that code (flows: by more than 0.001 pixels).
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
from torch import nn

WARM_UP = 5  # as in tests/gpu_bench.c
LAYOUTS = {"plain": torch.contiguous_format, "channels_last": torch.channels_last}


def warp(x, flow):
    """x (N,C,H,W) seen at (x + u, y + v), bilinear, the border repeated; flow in pixels."""
    h, w = flow.shape[2:]
    flow = flow.float()
    u = flow[:, 0] + torch.arange(w, device=flow.device, dtype=flow.dtype)
    v = flow[:, 1] + torch.arange(h, device=flow.device, dtype=flow.dtype)[:, None]
    grid = torch.stack((u * (2 / (w - 1)) - 1, v * (2 / (h - 1)) - 1), 3)
    return F.grid_sample(x.float(), grid, padding_mode="border", align_corners=True)


def correlate(a, b, reach=20, step=2):
    """Mean over channels of a(y,x) b(y+dy,x+dx), zero outside; dy is the slow index: 441 channels.

    Every row of a times whole rows of b, of which the columns in reach are then picked.
    """
    n, c, h, w = a.shape
    d = 2 * reach // step + 1
    rows = F.pad(b, (reach,) * 4).unfold(2, 2 * reach + 1, 1)[..., ::step]
    products = torch.einsum("ncyx,ncyzt->nytxz", a, rows)
    column = torch.arange(w, device=a.device)[:, None] + torch.arange(d, device=a.device) * step
    picked = products.gather(4, column.expand(n, h, d, w, d))
    return picked.permute(0, 2, 4, 1, 3).reshape(n, d * d, h, w) / c


# ---- siggraph17 ----


def block(c_in, c_out, n, dilation=1, relu_first=False):
    layers = [nn.ReLU()] if relu_first else []
    for i in range(n):
        c = c_out if i else c_in
        layers += [nn.Conv2d(c, c_out, 3, padding=dilation, dilation=dilation), nn.ReLU()]
    return nn.Sequential(*layers, nn.BatchNorm2d(c_out))


def up(c_in, c_out):
    return nn.Sequential(nn.ConvTranspose2d(c_in, c_out, 4, 2, 1))


def short(c_in, c_out):
    return nn.Sequential(nn.Conv2d(c_in, c_out, 3, padding=1))


class Siggraph17(nn.Module):
    """Luma to chroma and the feature before it, without hints; the class head is left out."""

    def __init__(self):
        super().__init__()
        self.model1 = block(4, 64, 2)
        self.model2 = block(64, 128, 2)
        self.model3 = block(128, 256, 3)
        self.model4 = block(256, 512, 3)
        self.model5 = block(512, 512, 3, dilation=2)
        self.model6 = block(512, 512, 3, dilation=2)
        self.model7 = block(512, 512, 3)
        self.model8up, self.model3short8 = up(512, 256), short(256, 256)
        self.model8 = block(256, 256, 2, relu_first=True)
        self.model9up, self.model2short9 = up(256, 128), short(128, 128)
        self.model9 = block(128, 128, 1, relu_first=True)
        self.model10up, self.model1short10 = up(128, 128), short(64, 128)
        self.model10 = nn.Sequential(nn.ReLU(), nn.Conv2d(128, 128, 3, padding=1),
                                     nn.LeakyReLU(0.2))
        self.model_out = nn.Sequential(nn.Conv2d(128, 2, 1), nn.Tanh())

    def forward(self, l):
        conv1 = self.model1(F.pad(l, (0, 0, 0, 0, 0, 3)))  # hints and mask are zero
        conv2 = self.model2(conv1[:, :, ::2, ::2])
        conv3 = self.model3(conv2[:, :, ::2, ::2])
        x = self.model7(self.model6(self.model5(self.model4(conv3[:, :, ::2, ::2]))))
        x = self.model8(self.model8up(x) + self.model3short8(conv3))
        x = self.model9(self.model9up(x) + self.model2short9(conv2))
        feature = self.model10(self.model10up(x) + self.model1short10(conv1))
        return self.model_out(feature), feature


# ---- FlowNet 2.0 ----

# name, channels in and out, kernel, stride; level i of the names has sides of H / 2^i
LOWER = (("conv4", 256, 512, 3, 2), ("conv4_1", 512, 512, 3, 1), ("conv5", 512, 512, 3, 2),
         ("conv5_1", 512, 512, 3, 1), ("conv6", 512, 1024, 3, 2), ("conv6_1", 1024, 1024, 3, 1))
FLOWNET_C = (("conv1", 3, 64, 7, 2), ("conv2", 64, 128, 5, 2), ("conv3", 128, 256, 5, 2),
             ("conv3_1", 473, 256, 3, 1), *LOWER)
FLOWNET_S = (("conv1", 12, 64, 7, 2), ("conv2", 64, 128, 5, 2), ("conv3", 128, 256, 5, 2),
             ("conv3_1", 256, 256, 3, 1), *LOWER)
FUSION = (("conv0", 11, 64, 3, 1), ("conv1", 64, 64, 3, 2), ("conv1_1", 64, 128, 3, 1),
          ("conv2", 128, 128, 3, 2), ("conv2_1", 128, 128, 3, 1))
FLOWNET_SD = (("conv0", 6, 64, 3, 1), *FUSION[1:], ("conv3", 128, 256, 3, 2),
              ("conv3_1", 256, 256, 3, 1), *LOWER)
UPWARD = (16, 32, 64, 128, 256, 512)  # channels by level


def conv(c_in, c_out, k, stride):
    return nn.Sequential(nn.Conv2d(c_in, c_out, k, stride, k // 2), nn.LeakyReLU(0.1))


def predict(c):
    return nn.Conv2d(c, 2, 3, padding=1)


class FlowNet(nn.Module):
    """inter: one more layer before each prediction; bias: of the layers that enlarge flow."""

    def __init__(self, layers, bottom=2, inter=False, bias=True):
        super().__init__()
        self.names, self.inter, width = [layer[0] for layer in layers], inter, {}
        for name, *shape in layers:
            self.add_module(name, conv(*shape))
            width[int(name[4])] = shape[1]
        top = max(width)
        self.levels, c = range(top - 1, bottom - 1, -1), width[top]
        self.add_module(f"predict_flow{top}", predict(c))
        for i in self.levels:
            up_flow = nn.ConvTranspose2d(2, 2, 4, 2, 1, bias=bias)
            self.add_module(f"upsampled_flow{i + 1}_to_{i}", up_flow)
            self.add_module(f"deconv{i}", nn.Sequential(*up(c, UPWARD[i]), nn.LeakyReLU(0.1)))
            c = width[i] + UPWARD[i] + 2
            if inter:
                self.add_module(f"inter_conv{i}", short(c, UPWARD[i]))
            self.add_module(f"predict_flow{i}", predict(UPWARD[i] if inter else c))

    def encode(self, x, names):
        """The last value of every level."""
        values = {}
        for name in names:
            values[int(name[4])] = x = getattr(self, name)(x)
        return values

    def decode(self, values):
        x = values[self.levels[0] + 1]
        flow = getattr(self, f"predict_flow{self.levels[0] + 1}")(x)
        for i in self.levels:
            larger = getattr(self, f"upsampled_flow{i + 1}_to_{i}")(flow)
            x = torch.cat((values[i], getattr(self, f"deconv{i}")(x), larger), 1)
            last = getattr(self, f"inter_conv{i}")(x) if self.inter else x
            flow = getattr(self, f"predict_flow{i}")(last)
        return flow.float()  # bf16 is too coarse for pixels

    def forward(self, x):
        return self.decode(self.encode(x, self.names))


class FlowNetC(FlowNet):
    def __init__(self):
        super().__init__(FLOWNET_C)
        self.conv_redir = conv(256, 32, 1, 1)

    def forward(self, first, second):
        a, b = self.encode(first, self.names[:3]), self.encode(second, self.names[:3])
        x = torch.cat((self.conv_redir(a[3]), F.leaky_relu(correlate(a[3], b[3]), 0.1)), 1)
        return self.decode({2: a[2], **self.encode(x, self.names[3:])})


def length(x):
    return torch.linalg.vector_norm(x, dim=1, keepdim=True)


class FlowNet2(nn.Module):
    """Flow in pixels from the first frame to the second, RGB in 0..1, sides multiples of 64."""

    def __init__(self):
        super().__init__()
        self.flownetc = FlowNetC()
        self.flownets_1 = FlowNet(FLOWNET_S, bias=False)
        self.flownets_2 = FlowNet(FLOWNET_S, bias=False)
        self.flownets_d = FlowNet(FLOWNET_SD, inter=True)
        self.flownetfusion = FlowNet(FUSION, bottom=0, inter=True)

    def forward(self, first, second):
        mean = (first.mean((2, 3), keepdim=True) + second.mean((2, 3), keepdim=True)) / 2
        first, second = first - mean, second - mean
        both = torch.cat((first, second), 1)
        coarse = self.flownetc(first, second)
        for refine in (self.flownets_1, self.flownets_2):
            flow = F.interpolate(20 * coarse, scale_factor=4, mode="bilinear", align_corners=False)
            seen = warp(second, flow)
            coarse = refine(torch.cat((both, seen, flow / 20, length(first - seen)), 1))
        large = F.interpolate(20 * coarse, scale_factor=4)
        small = F.interpolate(self.flownets_d(both) / 20, scale_factor=4)
        errors = [length(first - warp(second, flow)) for flow in (small, large)]
        return self.flownetfusion(torch.cat((first, small, large, length(small), length(large),
                                             *errors), 1))


# ---- TCVC ----


class Head(nn.Module):
    def __init__(self, widths, kernels):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = (
            nn.Conv2d(widths[i], widths[i + 1], kernels[i], padding=kernels[i] // 2)
            for i in range(3))

    def forward(self, x):
        x = F.leaky_relu(self.conv1(x), 0.1)
        return self.conv3(F.leaky_relu(self.conv2(x), 0.1))


class Tcvc(nn.Module):
    def __init__(self):
        super().__init__()
        self.fea_key, self.flow = Siggraph17(), FlowNet2()
        self.L_fea_extractor = nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.LeakyReLU(0.1),
                                             nn.Conv2d(32, 32, 3, padding=1))
        self.weigting = Head((352, 196, 64, 1), (3, 3, 3))
        self.feature_refine = Head((288, 196, 128, 128), (3, 3, 3))
        self.channel_reduction = Head((128, 64, 64, 64), (1, 3, 1))
        self.eval()
        self.fea_key.requires_grad_(False)
        self.flow.requires_grad_(False)

    def speed_up(self, precision, compiled):
        if precision == "bf16":
            for m in (*self.fea_key.modules(), *self.flow.modules()):
                if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d)):
                    m.bfloat16()
        if compiled:
            self.fea_key.compile()
            self.flow.compile()
            self.step_forward = torch.compile(self.step_forward)
            self.regularize = torch.compile(self.regularize)

    @torch.no_grad()
    def flow_between(self, x, y):
        return self.flow((x + 0.5).expand(-1, 3, -1, -1), (y + 0.5).expand(-1, 3, -1, -1))

    def step_forward(self, window, backward, backward_next, previous, flow):
        """Feature and chroma of the middle one of three frames."""
        luma = torch.cat([self.L_fea_extractor(l) for l in window], 1)
        forward = warp(previous, flow)
        w = torch.sigmoid(self.weigting(torch.cat((luma, backward, forward), 1)))
        middle = w * forward + (1 - w) * backward
        reduced = [self.channel_reduction(x.detach()) for x in (backward_next, previous, middle)]
        feature = middle + self.feature_refine(torch.cat((luma, *reduced), 1))
        return feature, self.fea_key.model_out(feature)

    def regularize(self, later, earlier, ab, flow):
        """Chroma of the earlier frame seen from the later one, and where to believe it."""
        return warp(ab, flow), torch.exp(-50 * (later - warp(earlier, flow)) ** 2)

    def forward(self, l, flow_of=None):
        """Luma (N,T,1,H,W) to ab (N,T,2,H,W) and, for steps 1 and 2, warped ab and masks."""
        l, last = l.unbind(1), l.shape[1] - 1
        flow_of = flow_of or (lambda i, j: self.flow_between(l[i], l[j]))
        ab, backward, seen = [None] * (last + 1), [None] * (last + 1), {1: [], 2: []}
        with torch.no_grad():
            ab[0], feature = self.fea_key(l[0])
            ab[last], backward[last] = self.fea_key(l[last])
            for i in range(last - 1, 0, -1):
                backward[i] = warp(backward[i + 1], flow_of(i, i + 1))
        for i in range(1, last):
            feature, ab[i] = self.step_forward(l[i - 1:i + 2], backward[i], backward[i + 1],
                                               feature, flow_of(i, i - 1))
            seen[1].append(self.regularize(l[i], l[i - 1], ab[i - 1], flow_of(i, i - 1)))
        for t, first in ((1, last - 1), (2, 0)):
            for i in range(first, last + 1 - t):
                seen[t].append(self.regularize(l[i + t], l[i], ab[i], flow_of(i + t, i)))
        return torch.stack(ab, 1), {t: [torch.stack(x, 1) for x in zip(*seen[t])] for t in seen}


def find_losses(ab, truth, seen):
    """l_pix, warp_loss, warp_loss2"""
    return [F.mse_loss(ab, truth)] + [F.mse_loss(mask * ab[:, t:], mask * warped)
                                      for t, (warped, mask) in seen.items()]


# ---- timing ----


class Training:
    """The model, its optimizer and frames for it."""

    def __init__(self, a, layout):
        self.cuda, self.precision = a.device == "cuda", a.precision
        self.model = Tcvc().to(a.device, memory_format=LAYOUTS[layout])
        self.model.speed_up(a.precision, a.compile)
        trained = [p for p in self.model.parameters() if p.requires_grad]
        self.adam = torch.optim.Adam(trained, lr=5e-5, betas=(0.9, 0.99))
        frames = torch.rand(a.batch, a.frames, 3, a.side, a.side) - 0.5
        self.frames = frames.pin_memory() if self.cuda else frames
        self.layout = LAYOUTS[layout]
        self.losses = None

    def step(self):
        device = "cuda" if self.cuda else "cpu"
        lab = self.frames.to(device, non_blocking=True)
        lab = lab.flatten(0, 1).to(memory_format=self.layout).unflatten(0, lab.shape[:2])
        self.adam.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=self.precision == "bf16"):
            ab, seen = self.model(lab[:, :, :1])
            self.losses = find_losses(ab, lab[:, :, 1:], seen)
        (0 * self.losses[0] + self.losses[1] + self.losses[2]).backward()
        self.adam.step()

    def time(self, steps, warm_up=WARM_UP):
        """Milliseconds of each step as the host sees it."""
        ms = []
        for _ in range(warm_up + steps):
            start = time.perf_counter()
            self.step()
            if self.cuda:
                torch.cuda.synchronize()
            ms.append(1e3 * (time.perf_counter() - start))
        return ms[warm_up:]


def quicker_layout(a):
    """Of the layouts, by a few steps each."""
    ms = {}
    for layout in LAYOUTS:
        ms[layout] = min(Training(a, layout).time(2, 2))
        if a.device == "cuda":
            torch.cuda.empty_cache()
    print("ms a step:", ms, file=sys.stderr)
    return min(ms, key=ms.get)


def time_steps(a):
    layout = quicker_layout(a) if a.layout == "quicker" else a.layout
    cuda = a.device == "cuda"
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    training = Training(a, layout)
    ms = training.time(a.steps)
    peak = (torch.cuda.max_memory_allocated() / 1e6 if cuda
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3)
    return {"ok": bool(torch.isfinite(training.losses[1] + training.losses[2])),
            "mode": "compile" if a.compile else "eager", "layout": layout,
            "precision": a.precision, "batch": a.batch, "frames": a.frames, "side": a.side,
            "steps": a.steps, "median_ms": round(statistics.median(ms), 2),
            "min_ms": round(min(ms), 2), "max_ms": round(max(ms), 2), "device_mb": round(peak)}


# ---- the check ----


def read_fixture(path):
    """The tensors and the decoded metadata of a safetensors file."""
    kinds = {"F32": torch.float32, "F64": torch.float64, "U8": torch.uint8}
    with open(path, "rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        data = bytearray(file.read())
    text = header.pop("__metadata__", {})
    meta = {k: json.loads(v) for k, v in text.items() if v[0] in "[{"}
    tensors = {name: torch.frombuffer(data[slice(*t["data_offsets"])],
                                      dtype=kinds[t["dtype"]]).reshape(t["shape"])
               for name, t in header.items()}
    return tensors, meta


def unit(name, n):
    """0 <= u < 1 of weights/formula.h for the n elements of a parameter."""
    def signed(x):
        return (x + (1 << 63)) % (1 << 64) - (1 << 63)

    def mix(z, bits):
        return z ^ z >> bits & (1 << 64 - bits) - 1

    h = 0xCBF29CE484222325
    for b in name.encode():
        h = (h ^ b) * 0x100000001B3 % (1 << 64)
    z = torch.arange(n) + signed(h + 0x9E3779B97F4A7C15)
    z = mix(z, 30) * signed(0xBF58476D1CE4E5B9)
    z = mix(z, 27) * signed(0x94D049BB133111EB)
    return (mix(z, 31) >> 40 & (1 << 24) - 1).double() / (1 << 24)


def load_formula(model, table):
    with open(table) as file:
        rows = {row[1]: row for row in (line.rstrip("\n").split("\t") for line in file)
                if row[0] == "tcvc"}
    with torch.no_grad():
        for name, t in model.state_dict().items():
            u = 2 * unit(name, t.numel()) - 1
            t.copy_((float(rows[name][4]) + float(rows[name][5]) * u).reshape(t.shape))


def share(name, got, want, allowed):
    """The largest difference as a share of what is allowed."""
    want = torch.as_tensor(want).double()
    off = float((torch.as_tensor(got).detach().double().cpu() - want).abs().max())
    part = off / max(allowed, 1e-6 * float(want.abs().max()))
    print(f"{name}: off by {off:.2e}, {part:.2f} of what is allowed", file=sys.stderr)
    return part if part == part else float("inf")


def check_forward(model, path, device):
    f, meta = read_fixture(path)
    lab, spread, calls = f["lab"].to(device), meta["spread_f32_f64"], []

    def flow_of(i, j):
        calls.append(model.flow_between(lab[:, i, :1], lab[:, j, :1]))
        return calls[-1]

    with torch.no_grad():
        ab, seen = model(lab[:, :, :1], flow_of)
        losses = find_losses(ab, lab[:, :, 1:], seen)
    found = {"ab": ab, "warp1": seen[1][0], "mask1": seen[1][1], "warp2": seen[2][0],
             "mask2": seen[2][1]}
    parts = [share(name, x, f[name], 10 * spread[name]) for name, x in found.items()]
    parts.append(share("flows", torch.stack(calls)[..., ::4, ::4], f["flow_calls"], 1e-3))
    for (name, want), x, rel in zip(meta["losses"].items(), losses, spread["loss_rel"]):
        parts.append(share(name, x, want, 10 * rel * want))
    return parts


def check_train(model, path, device):
    f, meta = read_fixture(path)
    trained = [p for p in model.parameters() if p.requires_grad]
    adam = torch.optim.Adam(trained, lr=1e-4, betas=(0.9, 0.99))
    spread, parts = 0, []
    for s, want in enumerate(f["loss_f64.f64"].tolist()):
        w = s % len(f["lab"])
        lab = f["lab"][w:w + 1].to(device)
        ab, seen = model(lab[:, :, :1], lambda i, j: f[f"flow{w}_{i}_{j}"].to(device))
        losses = find_losses(ab, lab[:, :, 1:], seen)
        adam.zero_grad()
        sum(losses).backward()
        norm = torch.stack([p.grad.double().norm() for p in trained]).norm()
        spread = max(spread, meta["rel_spread_per_step_f32_f64"][s])
        for name, x, y in zip(("l_pix", "warp_loss", "warp_loss2", "norm"), (*losses, norm), want):
            parts.append(share(f"step {s + 1} {name}", x, y, 10 * spread * y))
        adam.step()
    return parts


def check(a):
    model, name = Tcvc(), os.path.basename(a.check)
    load_formula(model, os.path.join(os.path.dirname(a.check), "weights.tsv"))
    model.to(a.device).speed_up(a.precision, a.compile)
    parts = (check_train if "train" in name else check_forward)(model, a.check, a.device)
    return {"ok": max(parts) <= 1, "fixture": name, "compared": len(parts),
            "worst": round(max(parts), 3)}


def main():
    p = argparse.ArgumentParser(description="the training step of TCVC in PyTorch")
    p.add_argument("--precision", choices=("float32", "tf32", "bf16"), default="float32")
    p.add_argument("--steps", type=int, default=10, help="timed, behind %d others" % WARM_UP)
    p.add_argument("--compile", action="store_true", help="torch.compile the networks")
    p.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    p.add_argument("--batch", type=int, default=4, help="windows in a step")
    p.add_argument("--frames", type=int, default=12, help="in a window, 3 or more")
    p.add_argument("--side", type=int, default=256, help="of a frame, a multiple of 64")
    p.add_argument("--layout", choices=(*LAYOUTS, "quicker"), default="channels_last",
                   help="of weights and frames; quicker: tries both")
    p.add_argument("--check", metavar="FILE", help="compare with a fixture, in float32")
    a = p.parse_args()
    if a.side < 64 or a.side % 64 or a.frames < 3 or a.batch < 1 or a.steps < 1:
        p.error("expected --side a multiple of 64, --frames of 3 or more, --batch, --steps of 1")
    if a.check and a.precision != "float32":
        p.error("--check compares float32")
    start = time.time()
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high" if a.precision == "tf32" else "highest")
    torch.backends.cudnn.allow_tf32 = a.precision == "tf32"
    torch.backends.cudnn.benchmark = True
    try:
        found = check(a) if a.check else time_steps(a)
    except RuntimeError as e:  # memory, torch.compile
        if a.check:
            raise
        first = " ".join(str(e).split("\n")[:2])
        print(f"torch_step.py: {type(e).__name__}: {first}", file=sys.stderr)
        return 1
    print(json.dumps({"check": "torch", **found, "torch": torch.__version__,
                      "seconds": round(time.time() - start, 1)}))
    return not found["ok"]


if __name__ == "__main__":
    sys.exit(main())
