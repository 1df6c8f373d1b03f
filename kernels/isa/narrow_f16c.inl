// One float to a stored KV element and back, with F16C.

template <typename Stored>
inline Stored narrow(float value);
template <>
inline float narrow<float>(float value) {
  return value;
}
template <>
inline uint16_t narrow<uint16_t>(float value) {
  return static_cast<uint16_t>(_cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT));
}
template <>
inline int8_t narrow<int8_t>(float value) {
  return static_cast<int8_t>(__builtin_rintf(value));
}

inline float scalar_value(float stored) { return stored; }
inline float scalar_value(uint16_t stored) { return _cvtsh_ss(stored); }
inline float scalar_value(int8_t stored) { return stored; }
