//! What is used of the JVM's two interfaces: the Java Native Interface and the JVM Tool Interface.
//!
//! Each is a table of functions; the gaps between those that are used are left unnamed. The numbers of the functions are
//! fixed by the specifications.

use core::ffi::{CStr, c_char, c_void};
use core::ptr;

/// A reference to an object.
pub(crate) type Object = *mut c_void;
/// The id of a field, which stays valid as long as its class.
pub(crate) type Field = *mut c_void;

/// The id of a method, which stays valid as long as its class.
pub(crate) type Method = *mut c_void;

/// Something was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Failed;

type Unused<const COUNT: usize> = [usize; COUNT];

#[repr(C)]
pub(crate) struct NativeMethod {
    pub(crate) name: *const c_char,
    pub(crate) descriptor: *const c_char,
    pub(crate) function: *const c_void,
}

#[repr(C)]
struct EnvFunctions {
    _to_5: Unused<5>,
    define_class: unsafe extern "system" fn(Env, *const c_char, Object, *const u8, i32) -> Object,
    find_class: unsafe extern "system" fn(Env, *const c_char) -> Object,
    _to_17: Unused<10>,
    exception_clear: unsafe extern "system" fn(Env),
    _to_19: Unused<1>,
    push_local_frame: unsafe extern "system" fn(Env, i32) -> i32,
    pop_local_frame: unsafe extern "system" fn(Env, Object) -> Object,
    _to_24: Unused<3>,
    is_same_object: unsafe extern "system" fn(Env, Object, Object) -> u8,
    _to_31: Unused<6>,
    get_object_class: unsafe extern "system" fn(Env, Object) -> Object,
    _to_33: Unused<1>,
    get_method_id: unsafe extern "system" fn(Env, Object, *const c_char, *const c_char) -> *mut c_void,
    _to_36: Unused<2>,
    call_object_method: unsafe extern "system" fn(Env, Object, *mut c_void, *const u64) -> Object,
    _to_94: Unused<57>,
    get_field_id: unsafe extern "system" fn(Env, Object, *const c_char, *const c_char) -> Field,
    get_object_field: unsafe extern "system" fn(Env, Object, Field) -> Object,
    get_boolean_field: unsafe extern "system" fn(Env, Object, Field) -> u8,
    _to_100: Unused<3>,
    get_int_field: unsafe extern "system" fn(Env, Object, Field) -> i32,
    get_long_field: unsafe extern "system" fn(Env, Object, Field) -> i64,
    _to_113: Unused<11>,
    get_static_method_id: unsafe extern "system" fn(Env, Object, *const c_char, *const c_char) -> *mut c_void,
    _to_131: Unused<17>,
    call_static_int_method: unsafe extern "system" fn(Env, Object, *mut c_void, *const u64) -> i32,
    _to_171: Unused<39>,
    get_array_length: unsafe extern "system" fn(Env, Object) -> i32,
    _to_173: Unused<1>,
    get_object_array_element: unsafe extern "system" fn(Env, Object, i32) -> Object,
    _to_200: Unused<26>,
    get_byte_array_region: unsafe extern "system" fn(Env, Object, i32, i32, *mut u8),
    _to_215: Unused<14>,
    register_natives: unsafe extern "system" fn(Env, Object, *const NativeMethod, i32) -> i32,
    _to_219: Unused<3>,
    get_java_vm: unsafe extern "system" fn(Env, *mut *mut c_void) -> i32,
    _to_226: Unused<6>,
    new_weak_global_ref: unsafe extern "system" fn(Env, Object) -> Object,
}

/// A thread's view of the JVM.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Env(*const *const EnvFunctions);

impl Env {
    fn functions(self) -> &'static EnvFunctions {
        // SAFETY: the JVM handed the pointer out, to a pointer that it never moves.
        let functions = unsafe { *self.0 };
        // SAFETY: the table lives as long as the JVM.
        unsafe { &*functions }
    }

    /// Returns the JVM.
    pub(crate) fn machine(self) -> Option<Machine> {
        let mut machine = ptr::null_mut();
        // SAFETY: the result has room for a pointer.
        let status = unsafe { (self.functions().get_java_vm)(self, &raw mut machine) };
        (status == 0 && !machine.is_null()).then_some(Machine(machine.cast()))
    }

    /// Returns a class that the boot loader knows, or none.
    pub(crate) fn find_class(self, name: &CStr) -> Option<Object> {
        // SAFETY: the name ends with a nought.
        let class = unsafe { (self.functions().find_class)(self, name.as_ptr()) };
        self.known(class)
    }

    /// Defines a class in the boot loader.
    pub(crate) fn define_class(self, name: &CStr, class: &[u8]) -> Option<Object> {
        let length = i32::try_from(class.len()).ok()?;
        let define = self.functions().define_class;
        // SAFETY: name and class are readable for as long as the call takes.
        let class = unsafe { define(self, name.as_ptr(), ptr::null_mut(), class.as_ptr(), length) };
        self.known(class)
    }

    pub(crate) fn register_natives(self, class: Object, methods: &[NativeMethod]) -> Result<(), Failed> {
        let count = i32::try_from(methods.len()).map_err(|_| Failed)?;
        // SAFETY: the methods' names end with noughts, and their functions have the types of their descriptors.
        let status = unsafe { (self.functions().register_natives)(self, class, methods.as_ptr(), count) };
        if status == 0 { Ok(()) } else { self.failed() }
    }

    /// Returns what a static method without arguments returns.
    pub(crate) fn call_static(self, class: Object, name: &CStr) -> Result<i32, Failed> {
        // SAFETY: the class is a reference of this thread, the names end with noughts.
        let method =
            unsafe { (self.functions().get_static_method_id)(self, class, name.as_ptr(), c"()I".as_ptr()) };
        let Some(method) = self.known(method) else { return Err(Failed) };
        // SAFETY: the method takes no arguments and is of this class.
        let returned = unsafe { (self.functions().call_static_int_method)(self, class, method, ptr::null()) };
        self.clear();
        Ok(returned)
    }

    /// Returns the module of a class; none before Java 9.
    pub(crate) fn module_of(self, class: Object) -> Option<Object> {
        let of_class = self.class_of(class);
        let (name, descriptor) = (c"getModule", c"()Ljava/lang/Module;");
        // SAFETY: the class is a reference of this thread, the names end with noughts.
        let method =
            unsafe { (self.functions().get_method_id)(self, of_class, name.as_ptr(), descriptor.as_ptr()) };
        let method = self.known(method)?;
        // SAFETY: the method takes no arguments and is of the object's class.
        let module = unsafe { (self.functions().call_object_method)(self, class, method, ptr::null()) };
        self.known(module)
    }

    pub(crate) fn class_of(self, object: Object) -> Object {
        // SAFETY: the object is a reference of this thread, and not null.
        unsafe { (self.functions().get_object_class)(self, object) }
    }

    pub(crate) fn is_same(self, one: Object, other: Object) -> bool {
        // SAFETY: both are references, or null.
        unsafe { (self.functions().is_same_object)(self, one, other) != 0 }
    }

    /// Returns a reference that does not keep the object alive, valid in all threads.
    pub(crate) fn weak(self, object: Object) -> Option<Object> {
        // SAFETY: the object is a reference of this thread.
        let weak = unsafe { (self.functions().new_weak_global_ref)(self, object) };
        self.known(weak)
    }

    /// Returns a field of a class or of one above it.
    pub(crate) fn field(self, class: Object, name: &CStr, kind: &CStr) -> Option<Field> {
        // SAFETY: the class is a reference of this thread, the names end with noughts.
        let field = unsafe { (self.functions().get_field_id)(self, class, name.as_ptr(), kind.as_ptr()) };
        self.known(field)
    }

    /// Returns the object in a field, or none if there is none.
    pub(crate) fn object(self, object: Object, field: Field) -> Option<Object> {
        // SAFETY: the field is one of the object's class and holds an object.
        let found = unsafe { (self.functions().get_object_field)(self, object, field) };
        (!found.is_null()).then_some(found)
    }

    /// Returns the number in a field.
    pub(crate) fn int(self, object: Object, field: Field) -> i32 {
        // SAFETY: the field is one of the object's class and holds an int.
        unsafe { (self.functions().get_int_field)(self, object, field) }
    }

    /// Returns the number in a field.
    pub(crate) fn long(self, object: Object, field: Field) -> i64 {
        // SAFETY: the field is one of the object's class and holds a long.
        unsafe { (self.functions().get_long_field)(self, object, field) }
    }

    /// Returns what is said in a field.
    pub(crate) fn boolean(self, object: Object, field: Field) -> bool {
        // SAFETY: the field is one of the object's class and holds a boolean.
        unsafe { (self.functions().get_boolean_field)(self, object, field) != 0 }
    }

    /// Returns what a method of an object returns that takes no arguments and returns an object.
    pub(crate) fn call_object(self, object: Object, method: Method) -> Option<Object> {
        // SAFETY: the method is one of the object's class, takes no arguments and returns an object.
        let found = unsafe { (self.functions().call_object_method)(self, object, method, ptr::null()) };
        self.clear();
        (!found.is_null()).then_some(found)
    }

    /// Returns a method without arguments of a class or of one above it.
    pub(crate) fn method(self, class: Object, name: &CStr, descriptor: &CStr) -> Option<Method> {
        // SAFETY: the class is a reference of this thread, the names end with noughts.
        let method =
            unsafe { (self.functions().get_method_id)(self, class, name.as_ptr(), descriptor.as_ptr()) };
        self.known(method)
    }

    /// Returns how many elements an array has.
    pub(crate) fn length(self, array: Object) -> i32 {
        // SAFETY: the object is an array.
        unsafe { (self.functions().get_array_length)(self, array) }
    }

    /// Returns an element of an array of objects; none where it has no such element.
    pub(crate) fn element(self, array: Object, index: i32) -> Option<Object> {
        if !(0..self.length(array)).contains(&index) {
            return None;
        }
        // SAFETY: the object is an array of objects that has such an element.
        let found = unsafe { (self.functions().get_object_array_element)(self, array, index) };
        (!found.is_null()).then_some(found)
    }

    /// Copies bytes of an array, from `from` on, as many as there is room for.
    pub(crate) fn copy(self, array: Object, from: i32, room: &mut [u8]) -> Result<(), Failed> {
        let count = i32::try_from(room.len()).map_err(|_| Failed)?;
        let end = from.checked_add(count).ok_or(Failed)?;
        if from < 0 || end > self.length(array) {
            return Err(Failed);
        }
        // SAFETY: the array is one of bytes and has those, and so has the room.
        unsafe { (self.functions().get_byte_array_region)(self, array, from, count, room.as_mut_ptr()) };
        Ok(())
    }

    /// Runs something, and frees all references that it made.
    pub(crate) fn in_frame<T>(self, run: impl FnOnce() -> Option<T>) -> Option<T> {
        const REFERENCES: i32 = 32;
        // SAFETY: the frame is popped below.
        if unsafe { (self.functions().push_local_frame)(self, REFERENCES) } != 0 {
            self.clear();
            return None;
        }
        let found = run();
        // SAFETY: the frame is the one that was pushed above.
        unsafe { (self.functions().pop_local_frame)(self, ptr::null_mut()) };
        found
    }

    fn known(self, found: *mut c_void) -> Option<*mut c_void> {
        if found.is_null() {
            self.clear();
            return None;
        }
        Some(found)
    }

    fn failed<T>(self) -> Result<T, Failed> {
        self.clear();
        Err(Failed)
    }

    fn clear(self) {
        // SAFETY: the thread is attached to the JVM.
        unsafe { (self.functions().exception_clear)(self) };
    }
}

#[repr(C)]
struct MachineFunctions {
    _to_6: Unused<6>,
    get_env: unsafe extern "system" fn(Machine, *mut *mut c_void, i32) -> i32,
}

/// The JVM.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub struct Machine(*const *const MachineFunctions);

impl Machine {
    /// Returns the present thread's view.
    pub(crate) fn env(self) -> Option<Env> {
        const JNI_1_8: i32 = 0x0001_0008;
        self.get(JNI_1_8).map(|env| Env(env.cast()))
    }

    /// Returns a new environment for tools.
    pub(crate) fn tools(self) -> Option<Tools> {
        const JVMTI_11: i32 = 0x300b_0000;
        // Java 8 has no later one.
        const JVMTI_1_2: i32 = 0x3001_0200;
        self.get(JVMTI_11).or_else(|| self.get(JVMTI_1_2)).map(|tools| Tools(tools.cast()))
    }

    fn get(self, version: i32) -> Option<*mut c_void> {
        let mut found = ptr::null_mut();
        // SAFETY: the JVM handed the pointer out, to a pointer that it never moves.
        let functions = unsafe { *self.0 };
        // SAFETY: the table lives as long as the JVM.
        let get_env = unsafe { (*functions).get_env };
        // SAFETY: the result has room for a pointer.
        let status = unsafe { get_env(self, &raw mut found, version) };
        (status == 0 && !found.is_null()).then_some(found)
    }
}

/// Is told of classes that are loaded or changed.
pub(crate) type ClassFileLoadHook = unsafe extern "system" fn(
    Tools,
    Env,
    Object,
    Object,
    *const c_char,
    Object,
    i32,
    *const u8,
    *mut i32,
    *mut *mut u8,
);

/// `jvmtiEventCallbacks`
#[repr(C)]
struct Callbacks {
    _to_54: Unused<4>,
    class_file_load_hook: Option<ClassFileLoadHook>,
}

#[repr(C)]
struct ToolsFunctions {
    _to_2: Unused<1>,
    set_event_notification_mode: unsafe extern "system" fn(Tools, i32, i32, Object) -> i32,
    _to_46: Unused<43>,
    allocate: unsafe extern "system" fn(Tools, i64, *mut *mut u8) -> i32,
    deallocate: unsafe extern "system" fn(Tools, *mut u8) -> i32,
    get_class_signature: unsafe extern "system" fn(Tools, Object, *mut *mut c_char, *mut *mut c_char) -> i32,
    _to_58: Unused<9>,
    get_object_hash_code: unsafe extern "system" fn(Tools, Object, *mut i32) -> i32,
    _to_78: Unused<19>,
    get_loaded_classes: unsafe extern "system" fn(Tools, *mut i32, *mut *mut Object) -> i32,
    _to_94: Unused<15>,
    add_module_reads: unsafe extern "system" fn(Tools, Object, Object) -> i32,
    _to_122: Unused<27>,
    set_event_callbacks: unsafe extern "system" fn(Tools, *const Callbacks, i32) -> i32,
    _to_127: Unused<4>,
    dispose_environment: unsafe extern "system" fn(Tools) -> i32,
    _to_142: Unused<14>,
    add_capabilities: unsafe extern "system" fn(Tools, *const [u32; 4]) -> i32,
    _to_152: Unused<9>,
    retransform_classes: unsafe extern "system" fn(Tools, i32, *const Object) -> i32,
}

/// An environment for tools, which has its own settings.
#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Tools(*const *const ToolsFunctions);

impl Tools {
    pub(crate) fn as_ptr(self) -> *mut c_void {
        self.0.cast_mut().cast()
    }

    /// Returns the environment of which this is the pointer.
    ///
    /// # Safety
    /// The pointer is one of [`as_ptr`](Self::as_ptr), and the environment was not disposed.
    pub(crate) unsafe fn from_ptr(pointer: *mut c_void) -> Self {
        Self(pointer.cast_const().cast())
    }

    fn functions(self) -> &'static ToolsFunctions {
        // SAFETY: the JVM handed the pointer out, to a pointer that it never moves.
        let functions = unsafe { *self.0 };
        // SAFETY: the table lives as long as the JVM.
        unsafe { &*functions }
    }

    /// Asks to be told of classes, also of those that are loaded already when they are transformed anew.
    pub(crate) fn watch_classes(self, hook: ClassFileLoadHook) -> Result<(), Failed> {
        /// `can_generate_all_class_hook_events`
        const ALL_CLASS_HOOKS: u32 = 26;
        /// `can_retransform_classes` and `can_retransform_any_class`, in the second word.
        const RETRANSFORM: u32 = 37 - 32;
        const RETRANSFORM_ANY: u32 = 38 - 32;
        let capabilities = [1 << ALL_CLASS_HOOKS, 1 << RETRANSFORM | 1 << RETRANSFORM_ANY, 0, 0];
        // SAFETY: the set of capabilities has 128 bits.
        checked(unsafe { (self.functions().add_capabilities)(self, &raw const capabilities) })?;
        let callbacks = Callbacks { _to_54: [0; 4], class_file_load_hook: Some(hook) };
        let size = i32::try_from(size_of::<Callbacks>()).map_err(|_| Failed)?;
        // SAFETY: the size tells how many callbacks there are.
        checked(unsafe { (self.functions().set_event_callbacks)(self, &raw const callbacks, size) })?;
        self.set_watching(true)
    }

    pub(crate) fn set_watching(self, is_on: bool) -> Result<(), Failed> {
        const CLASS_FILE_LOAD_HOOK: i32 = 54;
        let set = self.functions().set_event_notification_mode;
        // SAFETY: no thread is named.
        checked(unsafe { set(self, i32::from(is_on), CLASS_FILE_LOAD_HOOK, ptr::null_mut()) })
    }

    /// Returns memory that the JVM takes over or [`free`](Self::free) gives back.
    pub(crate) fn allocate(self, length: usize) -> Option<*mut u8> {
        let mut memory = ptr::null_mut();
        // SAFETY: the result has room for a pointer.
        let status =
            unsafe { (self.functions().allocate)(self, i64::try_from(length).ok()?, &raw mut memory) };
        (status == 0 && !memory.is_null()).then_some(memory)
    }

    /// Gives memory back.
    ///
    /// # Safety
    /// The JVM allocated it, and it is not used any more.
    pub(crate) unsafe fn free(self, memory: *mut u8) {
        // SAFETY: as the caller has promised.
        unsafe { (self.functions().deallocate)(self, memory) };
    }

    /// Runs something with the signature of a class, such as `Ljava/lang/Object;`.
    pub(crate) fn with_signature<T>(self, class: Object, run: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let mut signature = ptr::null_mut();
        let get = self.functions().get_class_signature;
        // SAFETY: the first result has room for a pointer, the second is not wanted.
        checked(unsafe { get(self, class, &raw mut signature, ptr::null_mut()) }).ok()?;
        if signature.is_null() {
            return None;
        }
        // SAFETY: the JVM allocated a text that ends with a nought.
        let text = unsafe { CStr::from_ptr(signature) };
        let found = run(text.to_bytes());
        // SAFETY: the text is not used below.
        unsafe { self.free(signature.cast()) };
        Some(found)
    }

    /// Returns what `System.identityHashCode` returns of an object.
    pub(crate) fn identity(self, object: Object) -> Option<i32> {
        let mut identity = 0;
        let get = self.functions().get_object_hash_code;
        // SAFETY: the object is a reference of this thread, the result has room for an int.
        checked(unsafe { get(self, object, &raw mut identity) }).ok()?;
        Some(identity)
    }

    /// Runs something with all classes that are loaded. Their array may be changed.
    pub(crate) fn with_classes<T>(self, run: impl FnOnce(&mut [Object]) -> T) -> Option<T> {
        let mut count = 0;
        let mut classes = ptr::null_mut();
        let get = self.functions().get_loaded_classes;
        // SAFETY: the results have room for an int and a pointer.
        checked(unsafe { get(self, &raw mut count, &raw mut classes) }).ok()?;
        if classes.is_null() {
            return None;
        }
        // SAFETY: the JVM allocated as many references as it says.
        let found = run(unsafe { core::slice::from_raw_parts_mut(classes, usize::try_from(count).ok()?) });
        // SAFETY: the array is not used below.
        unsafe { self.free(classes.cast()) };
        Some(found)
    }

    /// Lets the classes of a module use those of another.
    pub(crate) fn add_reads(self, module: Object, other: Object) -> Result<(), Failed> {
        // SAFETY: both are references of this thread to modules.
        checked(unsafe { (self.functions().add_module_reads)(self, module, other) })
    }

    /// Has classes go through all hooks again, from what they were when they were loaded.
    pub(crate) fn retransform(self, classes: &[Object]) -> Result<(), Failed> {
        let count = i32::try_from(classes.len()).map_err(|_| Failed)?;
        // SAFETY: all are references of this thread.
        checked(unsafe { (self.functions().retransform_classes)(self, count, classes.as_ptr()) })
    }

    pub(crate) fn dispose(self) {
        // SAFETY: nobody uses the environment after this.
        unsafe { (self.functions().dispose_environment)(self) };
    }
}

fn checked(status: i32) -> Result<(), Failed> {
    if status == 0 { Ok(()) } else { Err(Failed) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::offset_of;

    const WORD: usize = size_of::<usize>();

    /// The numbers are those of the specifications' function tables.
    #[test]
    fn functions_are_where_the_specifications_say() {
        assert_eq!(offset_of!(EnvFunctions, define_class) / WORD, 5);
        assert_eq!(offset_of!(EnvFunctions, exception_clear) / WORD, 17);
        assert_eq!(offset_of!(EnvFunctions, push_local_frame) / WORD, 19);
        assert_eq!(offset_of!(EnvFunctions, is_same_object) / WORD, 24);
        assert_eq!(offset_of!(EnvFunctions, get_object_class) / WORD, 31);
        assert_eq!(offset_of!(EnvFunctions, get_method_id) / WORD, 33);
        assert_eq!(offset_of!(EnvFunctions, call_object_method) / WORD, 36);
        assert_eq!(offset_of!(EnvFunctions, get_field_id) / WORD, 94);
        assert_eq!(offset_of!(EnvFunctions, get_boolean_field) / WORD, 96);
        assert_eq!(offset_of!(EnvFunctions, get_int_field) / WORD, 100);
        assert_eq!(offset_of!(EnvFunctions, get_long_field) / WORD, 101);
        assert_eq!(offset_of!(EnvFunctions, get_static_method_id) / WORD, 113);
        assert_eq!(offset_of!(EnvFunctions, call_static_int_method) / WORD, 131);
        assert_eq!(offset_of!(EnvFunctions, get_array_length) / WORD, 171);
        assert_eq!(offset_of!(EnvFunctions, get_object_array_element) / WORD, 173);
        assert_eq!(offset_of!(EnvFunctions, get_byte_array_region) / WORD, 200);
        assert_eq!(offset_of!(EnvFunctions, register_natives) / WORD, 215);
        assert_eq!(offset_of!(EnvFunctions, get_java_vm) / WORD, 219);
        assert_eq!(offset_of!(EnvFunctions, new_weak_global_ref) / WORD, 226);
        assert_eq!(offset_of!(MachineFunctions, get_env) / WORD, 6);
        let tools = [
            (offset_of!(ToolsFunctions, set_event_notification_mode), 2),
            (offset_of!(ToolsFunctions, allocate), 46),
            (offset_of!(ToolsFunctions, get_class_signature), 48),
            (offset_of!(ToolsFunctions, get_object_hash_code), 58),
            (offset_of!(ToolsFunctions, get_loaded_classes), 78),
            (offset_of!(ToolsFunctions, add_module_reads), 94),
            (offset_of!(ToolsFunctions, set_event_callbacks), 122),
            (offset_of!(ToolsFunctions, dispose_environment), 127),
            (offset_of!(ToolsFunctions, add_capabilities), 142),
            (offset_of!(ToolsFunctions, retransform_classes), 152),
        ];
        for (offset, number) in tools {
            assert_eq!(offset / WORD + 1, number);
        }
        assert_eq!(offset_of!(Callbacks, class_file_load_hook) / WORD, 54 - 50);
    }
}
