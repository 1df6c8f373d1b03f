// Everything that is not a matrix product. Included inside the anonymous namespace of each isa/*.cpp, after
// its vector type F (`lanes` floats) and the primitives on it.

// Sixteen running sums whatever the width of a register: element i of a row goes to sum i mod 16, and they
// are added up in one order. So a row has the same sum, bit for bit, on every instruction set.
constexpr int sum_count = 16, sum_parts = sum_count / lanes;
struct Sums {
  F parts[sum_parts];

  Sums() {
    for (F& part : parts) part = splat(0);
  }
  // Halves onto halves, as reduce_add goes on within a register.
  float total() {
#pragma GCC unroll 4
    for (int half = sum_parts / 2; half > 0; half /= 2)
#pragma GCC unroll 4
      for (int part = 0; part < half; ++part) parts[part] = parts[part] + parts[part + half];
    return reduce_add(parts[0]);
  }
};

// A whole register of a row, and the last one, of which `count` elements belong to the row.
struct Whole {
  static F read(const float* p, float = 0) { return load(p); }
  static void write(float* p, F v) { store(p, v); }
};
struct Rest {
  int64_t count;
  // `past`: what stands in the place of the other elements.
  F read(const float* p, float past = 0) const {
    float elements[lanes];
    for (int i = 0; i < lanes; ++i) elements[i] = i < count ? p[i] : past;
    return load(elements);
  }
  void write(float* p, F v) const {
    float elements[lanes];
    store(elements, v);
    for (int i = 0; i < lanes && i < count; ++i) p[i] = elements[i];
  }
};

// Calls step(i, part, row) for the registers of a row of n elements: from element i on, which belong to this
// part of Sums; row.read and row.write reach them.
template <class Step>
inline void for_registers(int64_t n, Step step) {
  int64_t begin = 0;
  for (; begin + sum_count <= n; begin += sum_count)
#pragma GCC unroll 4
    for (int part = 0; part < sum_parts; ++part) step(begin + part * lanes, part, Whole());
  if (begin == n) return;
#pragma GCC unroll 4
  for (int part = 0; part < sum_parts; ++part)
    if (const int64_t i = begin + part * lanes; i < n) step(i, part, Rest{n - i});
}

[[gnu::flatten]] void rms_norm(const float* x, const float* weight, int64_t n, float eps, float* y) {
  Sums squares;
  for_registers(n, [&](int64_t i, int part, auto row) {
    const F value = row.read(x + i);
    squares.parts[part] = fma(value, value, squares.parts[part]);
  });
  const float factor = 1.0f / __builtin_sqrtf(squares.total() / static_cast<float>(n) + eps);
  for_registers(n, [&](int64_t i, int, auto row) {
    row.write(y + i, row.read(x + i) * splat(factor) * row.read(weight + i));
  });
}

[[gnu::flatten]] void layer_norm(const float* x, const float* weight, const float* bias, int64_t n, float eps,
                                 float* y) {
  Sums sums, squares;
  for_registers(
      n, [&](int64_t i, int part, auto row) { sums.parts[part] = sums.parts[part] + row.read(x + i); });
  const float mean = sums.total() / static_cast<float>(n);
  for_registers(n, [&](int64_t i, int part, auto row) {
    const F difference = row.read(x + i, mean) - splat(mean);
    squares.parts[part] = fma(difference, difference, squares.parts[part]);
  });
  const float factor = 1.0f / __builtin_sqrtf(squares.total() / static_cast<float>(n) + eps);
  for_registers(n, [&](int64_t i, int, auto row) {
    const F normal = (row.read(x + i) - splat(mean)) * splat(factor);
    row.write(y + i, fma(normal, row.read(weight + i), row.read(bias + i)));
  });
}

// What turns a group whose largest magnitude is `top` into codes. Numbers below any that a model computes
// with count as zeros: the factor would not be finite.
inline float code_factor(float top) { return top > 0x1p-100f ? 127.0f / top : 0.0f; }

[[gnu::flatten]] void quantize_row(const float* x, int64_t cols, const QuantizedRows& out, int64_t m) {
  int8_t* codes = out.codes + m * out.cols;
  const int64_t groups = out.groups();
  for (int64_t g = 0; g < groups; ++g) {
    const int64_t begin = g * out.group_size;
    const int64_t padded_end = begin + out.group_size < out.cols ? begin + out.group_size : out.cols;
    const int64_t end = padded_end < cols ? padded_end : cols;
    const int64_t whole = begin + (end > begin ? (end - begin) / lanes * lanes : 0);
    F largest = splat(0), zeros = splat(0);
    for (int64_t i = begin; i < whole; i += lanes) {
      largest = max(largest, abs(load(x + i)));
      zeros = fma(load(x + i), splat(0), zeros);
    }
    float top = reduce_max(largest), zero = reduce_add(zeros);
    for (int64_t i = whole; i < end; ++i) {
      top = __builtin_fabsf(x[i]) > top ? __builtin_fabsf(x[i]) : top;
      zero += x[i] * 0.0f;
    }
    if (zero != 0) {  // NaN: not all are numbers, and what is none has no code
      __builtin_memset(codes + begin, 0, static_cast<size_t>(padded_end - begin));
      out.scales[m * groups + g] = __builtin_nanf("");
      out.sums[m * groups + g] = 0;
      continue;
    }
    const float inverse = code_factor(top);
    int32_t sum = 0;
    I sums = zero_int();
    for (int64_t i = begin; i < whole; i += lanes) {
      const I code = round_to_int(load(x + i) * splat(inverse));
      sums = sums + code;
      store_int8(codes + i, code);
    }
    sum = reduce_add(sums);
    for (int64_t i = whole; i < end; ++i) {
      const auto code = static_cast<int32_t>(__builtin_rintf(x[i] * inverse));
      sum += code;
      codes[i] = static_cast<int8_t>(code);
    }
    for (int64_t i = end > begin ? end : begin; i < padded_end; ++i) codes[i] = 0;
    out.scales[m * groups + g] = top / 127.0f;
    out.sums[m * groups + g] = sum;
  }
}

[[gnu::flatten]] void silu_mul(float* gate, const float* up, int64_t n) {
  // Buffers are whole float_blocks: the lanes past n hold padding.
  for (int64_t i = 0; i < n; i += lanes) {
    const F v = load(gate + i);
    store(gate + i, v / (splat(1) + exp(splat(0) - v)) * load(up + i));
  }
}

[[gnu::flatten]] void gelu_tanh(float* x, int64_t n) {
  // 1 + tanh(z) = 2 / (1 + exp(−2z)).
  constexpr float twice_root = 1.5957691216057308f, cubic = 0.044715f;
  for (int64_t i = 0; i < n; i += lanes) {
    const F v = load(x + i);
    const F z = v * splat(twice_root) * fma(v * v, splat(cubic), splat(1));
    store(x + i, v / (splat(1) + exp(splat(0) - z)));
  }
}

[[gnu::flatten]] void add(float* x, const float* y, int64_t n) {
  for (int64_t i = 0; i < n; i += lanes) store(x + i, load(x + i) + load(y + i));
}

[[gnu::flatten]] void rope(float* head, const float* cosines, const float* sines, int64_t head_dim) {
  const int64_t half = head_dim / 2, whole = half / lanes * lanes;
  for (int64_t i = 0; i < whole; i += lanes) {
    const F a = load(head + i), b = load(head + half + i), c = load(cosines + i), s = load(sines + i);
    store(head + i, a * c - b * s);
    store(head + half + i, b * c + a * s);
  }
  for (int64_t i = whole; i < half; ++i) {
    const float a = head[i], b = head[half + i];
    head[i] = a * cosines[i] - b * sines[i];
    head[half + i] = b * cosines[i] + a * sines[i];
  }
}

// Sixteen running sums whatever the width, and no fused multiply-add: see KernelTable::rounding_error.
[[gnu::flatten]] float rounding_error(const float* x, int64_t n, float scale, float zero_point,
                                      float code_min, float code_max) {
  constexpr int parts = 16 / lanes;
  const float inverse = scale != 0 ? 1.0f / scale : 0.0f;
  // Bounds are whole numbers: a number is within them before it is rounded, and so fits an integer.
  const F least = splat(code_min - zero_point), most = splat(code_max - zero_point);
  F sums[parts];
  for (F& sum : sums) sum = splat(0);
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int part = 0; part < parts; ++part) {
      const F value = load(x + i + part * lanes);
      const F steps = to_float(round_to_int(min(max(value * splat(inverse), least), most)));
      const F difference = value - steps * splat(scale);
      sums[part] = sums[part] + difference * difference;
    }
  }
  float lane[16];
  for (int part = 0; part < parts; ++part) store(lane + part * lanes, sums[part]);
  for (; i < n; ++i) {
    const float low = code_min - zero_point, high = code_max - zero_point, steps = x[i] * inverse;
    const float bounded = steps > low ? (steps < high ? steps : high) : low;  // a NaN is low, as above
    const float difference = x[i] - __builtin_rintf(bounded) * scale;
    lane[i % 16] += difference * difference;
  }
  float total = 0;
  for (float value : lane) total += value;
  return total;
}
