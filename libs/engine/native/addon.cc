// A small N-API addon over TensorFlow's C API. It is the `binding` that tfjs-node's
// NodeJSKernelBackend (plain JavaScript) expects, and adds context options, reads straight into the
// caller's memory, shared or not, and graphs as functions: one call for a whole recorded step. What
// such calls give is kept until it is added up, into the caller's memory too.
//
// A JavaScript number names one tensor handle; numbers are never used twice. One TensorFlow context
// per process, one table of handles per JavaScript environment (main thread, each worker thread).
// Every exported function runs inside `guard`: C++ throws Error, JavaScript sees TensorFlow's words.
#include <node_api.h>
#include <tensorflow/c/c_api.h>
#include <tensorflow/c/eager/c_api.h>

#include <dlfcn.h>
#if defined(__linux__)
#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>
#endif

#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "tree-sum.h"

namespace {

struct Error {
  std::string message;
};

[[noreturn]] void fail(const std::string& message) { throw Error{message}; }

void check(napi_status status) {
  if (status != napi_ok) fail("wrong argument (N-API status " + std::to_string(status) + ")");
}

// A TF_Status that turns a failure into an exception.
class Status {
 public:
  ~Status() { TF_DeleteStatus(status_); }
  operator TF_Status*() { return status_; }
  void check(const std::string& what) {
    if (TF_GetCode(status_) != TF_OK) fail(what + ": " + TF_Message(status_));
  }

 private:
  TF_Status* status_ = TF_NewStatus();
};

template <class T, void (*Delete)(T*)>
struct Deleter {
  void operator()(T* pointer) const {
    if (pointer != nullptr) Delete(pointer);
  }
};
template <class T, void (*Delete)(T*)>
using Owned = std::unique_ptr<T, Deleter<T, Delete>>;
using Tensor = Owned<TF_Tensor, TF_DeleteTensor>;
using Handle = Owned<TFE_TensorHandle, TFE_DeleteTensorHandle>;
using Op = Owned<TFE_Op, TFE_DeleteOp>;
using Graph = Owned<TF_Graph, TF_DeleteGraph>;
using SessionOptions = Owned<TF_SessionOptions, TF_DeleteSessionOptions>;
using Buffer = Owned<TF_Buffer, TF_DeleteBuffer>;
using Function = Owned<TF_Function, TF_DeleteFunction>;
using ImportOptions = Owned<TF_ImportGraphDefOptions, TF_DeleteImportGraphDefOptions>;

// ---- the context of the process, the table of the environment ----

std::mutex context_mutex;
TFE_Context* context = nullptr;  // Never freed: TensorFlow's threads may outlive JavaScript.

struct Program;

// What a program gave for one shard, or for several that lie along the first axis of each tensor.
struct Run {
  const Program* program;
  size_t shards;
  std::vector<Tensor> tensors;
};

struct Table {
  std::unordered_map<int64_t, Handle> handles;
  std::unordered_map<int64_t, Run> runs;
  int64_t next = 1;
};

Table& tableOf(napi_env env) {
  void* table;
  check(napi_get_instance_data(env, &table));
  return *static_cast<Table*>(table);
}

TFE_Context* contextOf() {
  std::lock_guard<std::mutex> lock(context_mutex);
  if (context == nullptr) fail("init() comes first");
  return context;
}

// ---- JavaScript values ----

std::string text(napi_env env, napi_value value) {
  size_t length;
  check(napi_get_value_string_utf8(env, value, nullptr, 0, &length));
  std::string result(length, 0);
  check(napi_get_value_string_utf8(env, value, &result[0], length + 1, &length));
  return result;
}

double number(napi_env env, napi_value value) {
  double result;
  check(napi_get_value_double(env, value, &result));
  return result;
}

int64_t integer(napi_env env, napi_value value) {
  int64_t result;
  check(napi_get_value_int64(env, value, &result));
  return result;
}

bool boolean(napi_env env, napi_value value) {
  napi_value coerced;
  bool result;
  check(napi_coerce_to_bool(env, value, &coerced));
  check(napi_get_value_bool(env, coerced, &result));
  return result;
}

napi_value property(napi_env env, napi_value object, const char* name) {
  napi_value value;
  check(napi_get_named_property(env, object, name, &value));
  return value;
}

bool isArray(napi_env env, napi_value value) {
  bool result;
  check(napi_is_array(env, value, &result));
  return result;
}

uint32_t length(napi_env env, napi_value array) {
  uint32_t result;
  check(napi_get_array_length(env, array, &result));
  return result;
}

napi_value element(napi_env env, napi_value array, uint32_t index) {
  napi_value value;
  check(napi_get_element(env, array, index, &value));
  return value;
}

std::vector<int64_t> integers(napi_env env, napi_value array) {
  std::vector<int64_t> result(length(env, array));
  for (uint32_t i = 0; i < result.size(); i++) result[i] = integer(env, element(env, array, i));
  return result;
}

napi_value make(napi_env env, double number) {
  napi_value value;
  check(napi_create_double(env, number, &value));
  return value;
}

napi_value nothing(napi_env env) {
  napi_value value;
  check(napi_get_undefined(env, &value));
  return value;
}

// A typed array over an ArrayBuffer or a SharedArrayBuffer; nothing is copied.
struct View {
  void* data;
  size_t bytes;
};

View viewOf(napi_env env, napi_value value) {
  bool isTyped;
  check(napi_is_typedarray(env, value, &isTyped));
  if (!isTyped) fail("a typed array is expected");
  napi_typedarray_type type;
  size_t count;
  View view;
  check(napi_get_typedarray_info(env, value, &type, &count, &view.data, nullptr, nullptr));
  static const int size[] = {1, 1, 1, 2, 2, 4, 4, 4, 8, 8, 8};
  view.bytes = count * size[type];
  return view;
}

// ---- tensors ----

int64_t keep(napi_env env, TFE_TensorHandle* handle) {
  Table& table = tableOf(env);
  table.handles.emplace(table.next, Handle(handle));
  return table.next++;
}

TFE_TensorHandle* find(napi_env env, int64_t id) {
  auto& handles = tableOf(env).handles;
  auto found = handles.find(id);
  if (found == handles.end()) fail("there is no tensor " + std::to_string(id));
  return found->second.get();
}

Tensor resolve(TFE_TensorHandle* handle) {
  Status status;
  Tensor tensor(TFE_TensorHandleResolve(handle, status));
  status.check("reading a tensor");
  return tensor;
}

// (shape, dtype, typed array) -> id
napi_value createTensor(napi_env env, napi_value* arguments) {
  auto shape = integers(env, arguments[0]);
  auto type = static_cast<TF_DataType>(integer(env, arguments[1]));
  if (type == TF_STRING) fail("string tensors are not supported");
  View view = viewOf(env, arguments[2]);
  size_t bytes = TF_DataTypeSize(type);
  for (auto dimension : shape) bytes *= dimension;
  if (view.bytes != bytes) fail("createTensor: " + std::to_string(view.bytes) + " bytes instead of " + std::to_string(bytes));
  Tensor tensor(TF_AllocateTensor(type, shape.data(), shape.size(), bytes));
  if (bytes > 0) memcpy(TF_TensorData(tensor.get()), view.data, bytes);
  Status status;
  TFE_TensorHandle* handle = TFE_NewTensorHandle(tensor.get(), status);
  status.check("createTensor");
  return make(env, keep(env, handle));
}

// (shape, dtype, typed array) -> id of a tensor that lies in the caller's memory, or -1 where TensorFlow
// would copy it. The memory must outlive the tensor; what is written there later is the tensor's value.
napi_value aliasTensor(napi_env env, napi_value* arguments) {
  auto shape = integers(env, arguments[0]);
  auto type = static_cast<TF_DataType>(integer(env, arguments[1]));
  View view = viewOf(env, arguments[2]);
  size_t bytes = TF_DataTypeSize(type);
  for (auto dimension : shape) bytes *= dimension;
  if (view.bytes != bytes) fail("aliasTensor: " + std::to_string(view.bytes) + " bytes instead of " + std::to_string(bytes));
  constexpr uintptr_t alignment = 64;
  if (reinterpret_cast<uintptr_t>(view.data) % alignment != 0) return make(env, -1);
  Tensor tensor(TF_NewTensor(type, shape.data(), shape.size(), view.data, bytes, [](void*, size_t, void*) {}, nullptr));
  Status status;
  TFE_TensorHandle* handle = TFE_NewTensorHandle(tensor.get(), status);
  status.check("aliasTensor");
  return make(env, keep(env, handle));
}

napi_value deleteTensor(napi_env env, napi_value* arguments) {
  if (tableOf(env).handles.erase(integer(env, arguments[0])) == 0) fail("deleteTensor: no such tensor");
  return nothing(env);
}

// id -> new typed array
napi_value tensorDataSync(napi_env env, napi_value* arguments) {
  Tensor tensor = resolve(find(env, integer(env, arguments[0])));
  size_t bytes = TF_TensorByteSize(tensor.get());
  napi_typedarray_type type;
  size_t size = 4;
  switch (TF_TensorType(tensor.get())) {
    case TF_FLOAT:
    case TF_COMPLEX64:
      type = napi_float32_array;
      break;
    case TF_INT32:
      type = napi_int32_array;
      break;
    case TF_BOOL:
    case TF_UINT8:
      type = napi_uint8_array;
      size = 1;
      break;
    case TF_INT64:
      type = napi_bigint64_array;
      size = 8;
      break;
    default:
      fail("tensorDataSync: unsupported dtype " + std::to_string(TF_TensorType(tensor.get())));
  }
  void* data;
  napi_value buffer, result;
  check(napi_create_arraybuffer(env, bytes, &data, &buffer));
  if (bytes > 0) memcpy(data, TF_TensorData(tensor.get()), bytes);
  check(napi_create_typedarray(env, type, bytes / size, buffer, 0, &result));
  return result;
}

// ---- operators ----

void setListAttribute(napi_env env, TFE_Op* op, const char* name, int type, napi_value value) {
  auto values = integers(env, value);
  if (type == TF_ATTR_INT) {
    TFE_OpSetAttrIntList(op, name, values.data(), values.size());
  } else if (type == TF_ATTR_TYPE) {
    std::vector<TF_DataType> types;
    for (auto each : values) types.push_back(static_cast<TF_DataType>(each));
    TFE_OpSetAttrTypeList(op, name, types.data(), types.size());
  } else if (type == TF_ATTR_SHAPE) {
    Status status;
    TFE_OpSetAttrShape(op, name, values.data(), values.size(), status);
    status.check(name);
  } else {
    fail(std::string("attribute ") + name + ": unsupported list of type " + std::to_string(type));
  }
}

// {name, type: TF_ATTR_*, value: scalar or array}
void setAttribute(napi_env env, TFE_Op* op, napi_value attribute) {
  std::string owned = text(env, property(env, attribute, "name"));
  const char* name = owned.c_str();
  napi_value value = property(env, attribute, "value");
  int type = integer(env, property(env, attribute, "type"));
  if (type == TF_ATTR_FLOAT && isArray(env, value)) {
    std::vector<float> values;
    for (uint32_t i = 0; i < length(env, value); i++) values.push_back(number(env, element(env, value, i)));
    TFE_OpSetAttrFloatList(op, name, values.data(), values.size());
    return;
  }
  if (isArray(env, value)) return setListAttribute(env, op, name, type, value);
  switch (type) {
    case TF_ATTR_STRING: {
      std::string content = text(env, value);
      TFE_OpSetAttrString(op, name, content.data(), content.size());
      return;
    }
    case TF_ATTR_INT:
      return TFE_OpSetAttrInt(op, name, integer(env, value));
    case TF_ATTR_FLOAT:
      return TFE_OpSetAttrFloat(op, name, number(env, value));
    case TF_ATTR_BOOL:
      return TFE_OpSetAttrBool(op, name, boolean(env, value));
    case TF_ATTR_TYPE:
      return TFE_OpSetAttrType(op, name, static_cast<TF_DataType>(integer(env, value)));
    default:
      fail("attribute " + owned + ": unsupported type " + std::to_string(type));
  }
}

// {id, shape, dtype}
napi_value describe(napi_env env, Handle handle) {
  Status status;
  int dimensions = TFE_TensorHandleNumDims(handle.get(), status);
  status.check("shape");
  napi_value object, shape;
  check(napi_create_object(env, &object));
  check(napi_create_array_with_length(env, dimensions, &shape));
  for (int i = 0; i < dimensions; i++) check(napi_set_element(env, shape, i, make(env, TFE_TensorHandleDim(handle.get(), i, status))));
  check(napi_set_named_property(env, object, "shape", shape));
  check(napi_set_named_property(env, object, "dtype", make(env, TFE_TensorHandleDataType(handle.get()))));
  check(napi_set_named_property(env, object, "id", make(env, keep(env, handle.release()))));
  return object;
}

std::vector<Handle> execute(napi_env env, napi_value operatorName, napi_value attributes, napi_value inputs, int count) {
  std::string name = text(env, operatorName);
  Status status;
  Op op(TFE_NewOp(contextOf(), name.c_str(), status));
  status.check(name);
  for (uint32_t i = 0; i < length(env, attributes); i++) setAttribute(env, op.get(), element(env, attributes, i));
  for (int64_t id : integers(env, inputs)) {
    TFE_OpAddInput(op.get(), find(env, id), status);
    status.check(name);
  }
  std::vector<TFE_TensorHandle*> outputs(count + 1);
  TFE_Execute(op.get(), outputs.data(), &count, status);
  status.check(name);
  std::vector<Handle> owned;
  for (int i = 0; i < count; i++) owned.emplace_back(outputs[i]);
  return owned;
}

// (operator, attributes, input ids, number of outputs) -> [{id, shape, dtype}]
napi_value executeOp(napi_env env, napi_value* arguments) {
  auto outputs = execute(env, arguments[0], arguments[1], arguments[2], integer(env, arguments[3]));
  napi_value result;
  check(napi_create_array_with_length(env, outputs.size(), &result));
  for (size_t i = 0; i < outputs.size(); i++) check(napi_set_element(env, result, i, describe(env, std::move(outputs[i]))));
  return result;
}

// ---- graphs as functions ----

std::vector<std::string> texts(napi_env env, napi_value array) {
  std::vector<std::string> result(length(env, array));
  for (uint32_t i = 0; i < result.size(); i++) result[i] = text(env, element(env, array, i));
  return result;
}

// "node" or "node:k"
TF_Output outputOf(TF_Graph* graph, const std::string& name) {
  size_t colon = name.find(':');
  TF_Operation* operation = TF_GraphOperationByName(graph, name.substr(0, colon).c_str());
  if (operation == nullptr) fail("the graph has no node " + name);
  return {operation, colon == std::string::npos ? 0 : atoi(name.c_str() + colon + 1)};
}

// A graph that is run as a whole, on the calling thread: no other thread is woken for it, and what it
// needs stays in this core's cache.
struct Program {
  Graph graph{TF_NewGraph()};
  TF_Session* session = nullptr;  // Never closed, as the context.
  std::vector<TF_Output> inputs, fetched;
  // A result is what is fetched, or a product of two that are: the first, transposed, times the second.
  struct Result {
    size_t first;
    int second;  // -1 where there is none
  };
  std::vector<Result> results;

  size_t fetch(const std::string& name) {
    TF_Output output = outputOf(graph.get(), name);
    for (size_t i = 0; i < fetched.size(); i++)
      if (fetched[i].oper == output.oper && fetched[i].index == output.index) return i;
    fetched.push_back(output);
    return fetched.size() - 1;
  }
};

std::mutex programs_mutex;
std::unordered_map<std::string, std::unique_ptr<Program>> programs;

Program& programOf(const std::string& name) {
  std::lock_guard<std::mutex> lock(programs_mutex);
  auto found = programs.find(name);
  if (found == programs.end()) fail("there is no function " + name);
  return *found->second;
}

// Replaces the program's graph by one call of it as a function that XLA compiles as a whole when it is
// first run, or refuses.
void compileWhole(Program& program, const std::string& name) {
  static const char yes[] = "\x28\x01";  // An AttrValue whose field `b` is true.
  static const char mustCompile[] = "_XlaMustCompile";
  Status status;
  std::vector<TF_Output>&inputs = program.inputs, &outputs = program.fetched;
  Function function(TF_GraphToFunction(program.graph.get(), name.c_str(), 0, -1, nullptr, inputs.size(), inputs.data(), outputs.size(), outputs.data(), nullptr, nullptr, nullptr, status));
  status.check("making a function of " + name);
  TF_FunctionSetAttrValueProto(function.get(), mustCompile, yes, 2, status);
  status.check(mustCompile);
  Graph caller(TF_NewGraph());
  TF_GraphCopyFunction(caller.get(), function.get(), nullptr, status);
  status.check("copying " + name);
  for (size_t i = 0; i < inputs.size(); i++) {
    std::vector<int64_t> shape(TF_GraphGetTensorNumDims(program.graph.get(), inputs[i], status));
    TF_GraphGetTensorShape(program.graph.get(), inputs[i], shape.data(), shape.size(), status);
    auto* node = TF_NewOperation(caller.get(), "Placeholder", ("input" + std::to_string(i)).c_str());
    TF_SetAttrType(node, "dtype", TF_OperationOutputType(inputs[i]));
    TF_SetAttrShape(node, "shape", shape.data(), shape.size());
    inputs[i] = {TF_FinishOperation(node, status), 0};
    status.check("an input of " + name);
  }
  auto* node = TF_NewOperation(caller.get(), name.c_str(), "call");
  for (auto& input : inputs) TF_AddInput(node, input);
  TF_SetAttrValueProto(node, mustCompile, yes, 2, status);
  status.check(mustCompile);
  TF_Operation* call = TF_FinishOperation(node, status);
  status.check("calling " + name);
  for (size_t i = 0; i < outputs.size(); i++) outputs[i] = {call, static_cast<int>(i)};
  program.graph = std::move(caller);
}

// (name, bytes of a GraphDef, input nodes, results "node:k" or "node:k * node:k", bytes of a ConfigProto,
// device or "", whether XLA compiles it) -> whether the name is new; one that is known changes nothing.
napi_value defineFunction(napi_env env, napi_value* arguments) {
  std::string name = text(env, arguments[0]);
  View bytes = viewOf(env, arguments[1]);
  View config = viewOf(env, arguments[4]);
  contextOf();
  std::lock_guard<std::mutex> lock(programs_mutex);
  bool isNew = programs.count(name) == 0;
  napi_value result;
  check(napi_get_boolean(env, isNew, &result));
  if (!isNew) return result;
  auto program = std::make_unique<Program>();
  TF_Graph* graph = program->graph.get();
  Status status;
  Buffer buffer(TF_NewBufferFromString(bytes.data, bytes.bytes));
  ImportOptions import(TF_NewImportGraphDefOptions());
  std::string device = text(env, arguments[5]);
  if (!device.empty()) TF_ImportGraphDefOptionsSetDefaultDevice(import.get(), device.c_str());
  TF_GraphImportGraphDef(graph, buffer.get(), import.get(), status);
  status.check("importing " + name);
  for (auto& input : texts(env, arguments[2])) program->inputs.push_back(outputOf(graph, input));
  for (auto& result : texts(env, arguments[3])) {
    size_t star = result.find(" * ");
    size_t first = program->fetch(result.substr(0, star));
    int second = star == std::string::npos ? -1 : int(program->fetch(result.substr(star + 3)));
    program->results.push_back({first, second});
  }
  if (boolean(env, arguments[6])) compileWhole(*program, name);
  graph = program->graph.get();
  SessionOptions options(TF_NewSessionOptions());
  TF_SetConfig(options.get(), config.data, config.bytes, status);
  status.check("ConfigProto");
  program->session = TF_NewSession(graph, options.get(), status);
  status.check("opening " + name);
  programs.emplace(name, std::move(program));
  return result;
}

// (function, input ids, shards) -> number of the run, whose results are kept until they are added up or
// dropped.
napi_value runFunction(napi_env env, napi_value* arguments) {
  std::string name = text(env, arguments[0]);
  Program& program = programOf(name);
  std::vector<Tensor> inputs;
  for (int64_t id : integers(env, arguments[1])) inputs.push_back(resolve(find(env, id)));
  if (inputs.size() != program.inputs.size()) fail(name + " has other inputs");
  size_t count = program.fetched.size();
  std::vector<TF_Tensor*> given, made(count);
  for (auto& input : inputs) given.push_back(input.get());
  Status status;
  TF_SessionRun(program.session, nullptr, program.inputs.data(), given.data(), given.size(), program.fetched.data(), made.data(), count, nullptr, 0, nullptr, status);
  status.check(name);
  Run run{&program, static_cast<size_t>(integer(env, arguments[2])), {}};
  for (TF_Tensor* tensor : made) run.tensors.emplace_back(tensor);
  Table& table = tableOf(env);
  table.runs.emplace(table.next, std::move(run));
  return make(env, table.next++);
}

Run& findRun(napi_env env, int64_t run) {
  auto& runs = tableOf(env).runs;
  auto found = runs.find(run);
  if (found == runs.end()) fail("there is no run " + std::to_string(run));
  return found->second;
}

// A tensor of a run, shard by shard.
struct Parts {
  TF_Tensor* tensor;
  size_t stride;  // floats from one shard to the next: 0 where all have the same

  const float* at(size_t shard) const { return static_cast<const float*>(TF_TensorData(tensor)) + shard * stride; }
};

// @param bytes of one shard
Parts partsOf(const Run& run, size_t index, size_t bytes) {
  TF_Tensor* tensor = run.tensors[index].get();
  size_t all = TF_TensorByteSize(tensor);
  if (TF_TensorType(tensor) != TF_FLOAT) fail("a result is not of floats");
  if (all == bytes) return {tensor, 0};
  if (all != bytes * run.shards) fail("the tensor has " + std::to_string(all) + " bytes, the view " + std::to_string(bytes));
  return {tensor, bytes / sizeof(float)};
}

// The last two lengths; everything before is 1, but for the axis of the shards.
struct Lengths {
  size_t depth, width;
};

Lengths lengthsOf(const Run& run, size_t index) {
  TF_Tensor* tensor = run.tensors[index].get();
  int dimensions = TF_NumDims(tensor);
  if (dimensions < 2) fail("a factor is no matrix");
  return {static_cast<size_t>(TF_Dim(tensor, dimensions - 2)), static_cast<size_t>(TF_Dim(tensor, dimensions - 1))};
}

void sumProducts(const std::vector<const Run*>& runs, size_t result, View into) {
  tree_sum::Product product{{}, 0, 0, 0, static_cast<float*>(into.data)};
  for (auto* run : runs) {
    auto [first, second] = run->program->results[result];
    Lengths left = lengthsOf(*run, first), right = lengthsOf(*run, second);
    if (left.depth != right.depth || left.width * right.width * sizeof(float) != into.bytes) fail("the factors do not fit the view");
    Parts lefts = partsOf(*run, first, left.depth * left.width * sizeof(float));
    Parts rights = partsOf(*run, second, right.depth * right.width * sizeof(float));
    for (size_t shard = 0; shard < run->shards; shard++) product.shards.push_back({lefts.at(shard), rights.at(shard)});
    product.depth = left.depth, product.rows = left.width, product.columns = right.width;
  }
  tree_sum::products(product);
}

void sumVectors(const std::vector<const Run*>& runs, size_t result, View into) {
  std::vector<const float*> given;
  for (auto* run : runs) {
    Parts parts = partsOf(*run, run->program->results[result].first, into.bytes);
    for (size_t shard = 0; shard < run->shards; shard++) given.push_back(parts.at(shard));
  }
  tree_sum::vectors(given, into.bytes / sizeof(float), static_cast<float*>(into.data));
}

// ([runs]): forgets them.
napi_value dropRuns(napi_env env, napi_value* arguments) {
  for (int64_t run : integers(env, arguments[0])) tableOf(env).runs.erase(run);
  return nothing(env);
}

// ([runs], a power of two of shards in all, [typed arrays]): the shards' results i, added up in the
// canonical tree, go straight into typed array i; the runs are forgotten.
napi_value sumRuns(napi_env env, napi_value* arguments) {
  std::vector<const Run*> runs;
  size_t shards = 0, results = length(env, arguments[1]);
  for (int64_t id : integers(env, arguments[0])) {
    runs.push_back(&findRun(env, id));
    shards += runs.back()->shards;
    if (runs.back()->program->results.size() != results) fail("the run has other results");
  }
  if (shards == 0 || (shards & (shards - 1)) != 0) fail("a power of two of shards is added up");
  for (uint32_t i = 0; i < results; i++) {
    View into = viewOf(env, element(env, arguments[1], i));
    if (runs[0]->program->results[i].second < 0) sumVectors(runs, i, into);
    else sumProducts(runs, i, into);
  }
  return dropRuns(env, arguments);
}

// run -> bytes that it keeps
napi_value bytesOfRun(napi_env env, napi_value* arguments) {
  size_t bytes = 0;
  for (auto& tensor : findRun(env, integer(env, arguments[0])).tensors) bytes += TF_TensorByteSize(tensor.get());
  return make(env, bytes);
}

// operator -> bytes of its OpDef
napi_value opDef(napi_env env, napi_value* arguments) {
  Graph graph(TF_NewGraph());
  Buffer buffer(TF_NewBuffer());
  Status status;
  TF_GraphGetOpDef(graph.get(), text(env, arguments[0]).c_str(), buffer.get(), status);
  status.check("opDef");
  void* data;
  napi_value bytes, result;
  check(napi_create_arraybuffer(env, buffer->length, &data, &bytes));
  memcpy(data, buffer->data, buffer->length);
  check(napi_create_typedarray(env, napi_uint8_array, buffer->length, bytes, 0, &result));
  return result;
}

// ---- the module ----

// ([libraries in order of loading], [name, value, name, value, …], bytes of a ConfigProto) -> version.
// Opens TensorFlow and makes the context of the process; the first call counts. The addon is not linked
// to TensorFlow, so that one binary serves its builds for CPU and GPU, and so that the variables are set
// before anything reads them: a thread's process.env is not that of the process.
napi_value init(napi_env env, napi_value* arguments) {
  auto libraries = texts(env, arguments[0]);
  auto variables = texts(env, arguments[1]);
  View config = viewOf(env, arguments[2]);
  std::lock_guard<std::mutex> lock(context_mutex);
  if (context == nullptr) {
    for (size_t i = 0; i + 1 < variables.size(); i += 2) setenv(variables[i].c_str(), variables[i + 1].c_str(), 1);
    for (auto& library : libraries)
      if (dlopen(library.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) fail(dlerror());
    // Tensors of one step take the memory of those of the step before; `trim` gives it back.
#if defined(__linux__)
    mallopt(M_MMAP_THRESHOLD, 32 << 20);
    mallopt(M_TRIM_THRESHOLD, 512 << 20);
#endif
    Status status;
    Owned<TFE_ContextOptions, TFE_DeleteContextOptions> options(TFE_NewContextOptions());
    if (config.bytes > 0) TFE_ContextOptionsSetConfig(options.get(), config.data, config.bytes, status);
    status.check("ConfigProto");
    context = TFE_NewContext(options.get(), status);
    status.check("TFE_NewContext");
  }
  napi_value version;
  check(napi_create_string_utf8(env, TF_Version(), NAPI_AUTO_LENGTH, &version));
  return version;
}

// -> the names of the context's devices, such as /job:localhost/replica:0/task:0/device:GPU:0
napi_value devices(napi_env env, napi_value*) {
  Status status;
  Owned<TF_DeviceList, TF_DeleteDeviceList> list(TFE_ContextListDevices(contextOf(), status));
  status.check("listing devices");
  napi_value result;
  check(napi_create_array(env, &result));
  for (int i = 0; i < TF_DeviceListCount(list.get()); i++) {
    napi_value name;
    check(napi_create_string_utf8(env, TF_DeviceListName(list.get(), i, status), NAPI_AUTO_LENGTH, &name));
    status.check("a device's name");
    check(napi_set_element(env, result, i, name));
  }
  return result;
}

#if defined(__linux__)
// What is only read of the library: its code and tables come back from the file, or from the system's
// cache of it, as they are used. Opening the library reads most of it, training little.
int forgetPages(dl_phdr_info* library, size_t, void*) {
  if (strstr(library->dlpi_name, "libtensorflow") == nullptr) return 0;
  uintptr_t page = sysconf(_SC_PAGESIZE);
  for (int i = 0; i < library->dlpi_phnum; i++) {
    auto& segment = library->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    uintptr_t from = (library->dlpi_addr + segment.p_vaddr + page - 1) / page * page;
    uintptr_t to = (library->dlpi_addr + segment.p_vaddr + segment.p_memsz) / page * page;
    if (from < to) madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
  }
  return 0;
}
#endif

// Forgets the operators that were run one by one, and gives what was freed back to the system: the
// allocator of each thread keeps it otherwise.
napi_value trim(napi_env env, napi_value*) {
  TFE_ContextClearCaches(contextOf());
#if defined(__linux__)
  malloc_trim(0);
  dl_iterate_phdr(forgetPages, nullptr);
#endif
  return nothing(env);
}

napi_value isUsingGpuDevice(napi_env env, napi_value*) {
  napi_value result;
  check(napi_get_boolean(env, false, &result));
  return result;
}

napi_value getNumOfTensors(napi_env env, napi_value*) { return make(env, tableOf(env).handles.size()); }
napi_value getNumOfSavedModels(napi_env env, napi_value*) { return make(env, 0); }

template <napi_value (*Function)(napi_env, napi_value*)>
napi_value guard(napi_env env, napi_callback_info info) {
  size_t count = 7;
  napi_value arguments[7];  // Missing ones arrive as undefined.
  try {
    check(napi_get_cb_info(env, info, &count, arguments, nullptr, nullptr));
    return Function(env, arguments);
  } catch (const Error& error) {
    napi_throw_error(env, nullptr, error.message.c_str());
  } catch (const std::exception& error) {
    napi_throw_error(env, nullptr, error.what());
  }
  return nullptr;
}

template <napi_value (*Function)(napi_env, napi_value*)>
void define(napi_env env, napi_value exports, const char* name) {
  napi_value function;
  check(napi_create_function(env, name, NAPI_AUTO_LENGTH, guard<Function>, nullptr, &function));
  check(napi_set_named_property(env, exports, name, function));
}

}  // namespace

NAPI_MODULE_INIT() {
  try {
    check(napi_set_instance_data(env, new Table, [](napi_env, void* table, void*) { delete static_cast<Table*>(table); }, nullptr));
    define<init>(env, exports, "init");
    define<createTensor>(env, exports, "createTensor");
    define<aliasTensor>(env, exports, "aliasTensor");
    define<deleteTensor>(env, exports, "deleteTensor");
    define<tensorDataSync>(env, exports, "tensorDataSync");
    define<executeOp>(env, exports, "executeOp");
    define<runFunction>(env, exports, "runFunction");
    define<sumRuns>(env, exports, "sumRuns");
    define<dropRuns>(env, exports, "dropRuns");
    define<bytesOfRun>(env, exports, "bytesOfRun");
    define<defineFunction>(env, exports, "defineFunction");
    define<opDef>(env, exports, "opDef");
    define<devices>(env, exports, "devices");
    define<trim>(env, exports, "trim");
    define<isUsingGpuDevice>(env, exports, "isUsingGpuDevice");
    define<getNumOfTensors>(env, exports, "getNumOfTensors");
    define<getNumOfSavedModels>(env, exports, "getNumOfSavedModels");
    const struct {
      const char* name;
      int value;
    } constants[] = {{"TF_FLOAT", TF_FLOAT},       {"TF_INT32", TF_INT32},         {"TF_INT64", TF_INT64},         {"TF_BOOL", TF_BOOL},
                     {"TF_COMPLEX64", TF_COMPLEX64}, {"TF_STRING", TF_STRING},       {"TF_RESOURCE", TF_RESOURCE},   {"TF_UINT8", TF_UINT8},
                     {"TF_ATTR_STRING", TF_ATTR_STRING}, {"TF_ATTR_INT", TF_ATTR_INT}, {"TF_ATTR_FLOAT", TF_ATTR_FLOAT}, {"TF_ATTR_BOOL", TF_ATTR_BOOL},
                     {"TF_ATTR_TYPE", TF_ATTR_TYPE}, {"TF_ATTR_SHAPE", TF_ATTR_SHAPE}};
    for (auto& constant : constants) check(napi_set_named_property(env, exports, constant.name, make(env, constant.value)));
  } catch (const Error& error) {
    napi_throw_error(env, nullptr, error.message.c_str());
  }
  return exports;
}
